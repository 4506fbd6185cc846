//! A server's process behind the gate: lines to and from it, and each call put to the cortex.
//!
//! One task orders everything; a call that is judged is a task of its own, so that one that waits for a person holds nobody up. Whoever ends
//! first, the client or the server, ends the other: the server by the end of its input, and after a while by a signal.

use std::{
    collections::HashMap,
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use grace_cortex::{
    case::sha256,
    request::{Actor, ActorKind},
};
use grace_kernel::process::later;
use grace_types::{
    intent::Json,
    time::{Clock, SystemClock},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    task::AbortHandle,
};

use super::{
    gate::{Called, FromClient, FromServer, Gate, held_back},
    line::Line,
};
use crate::{
    decision::{self, Patience, Question, Word},
    hooks::{
        call::on_record,
        mapping::{Mapping, Meaning, Use},
    },
    limits,
};

/// What the proxy has to know.
pub struct Proxy {
    /// The way to the cortex.
    pub line: Line,
    /// What calls mean.
    pub mapping: Mapping,
    /// The agent's name.
    pub agent: String,
    /// What the server is called: its tools are `mcp__<server>__<tool>` to the rules.
    pub server: String,
    /// How long a call waits for a person, or for a vote.
    pub wait: Duration,
}

/// What comes next.
enum Happening {
    FromClient(Vec<u8>),
    FromServer(Vec<u8>),
    /// A call is judged: it goes on under this number, or the client is answered.
    Judged(u64, Result<String, String>),
    /// The list of tools did not come in time.
    Unlisted(u64),
    ClientGone,
    ServerGone,
}

/// A call that is on its way through.
struct Under {
    called: Called,
    judging: AbortHandle,
    /// It waits for the list of tools.
    listing: bool,
}

/// Runs the server until it or the client is gone; how the server ended.
///
/// # Errors
/// It cannot be started.
pub async fn run(
    proxy: Proxy,
    mut command: Command,
    client: (impl AsyncBufRead + Unpin + Send + 'static, impl AsyncWrite + Unpin),
) -> io::Result<ExitStatus> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the server has no pipes"));
    };
    let (say, happenings) = mpsc::channel(limits::MCP_LINES);
    let (from, to) = client;
    tokio::spawn(lines(
        from,
        limits::MCP_CLIENT_LINE,
        say.clone(),
        Happening::FromClient,
        Happening::ClientGone,
    ));
    tokio::spawn(of_server(output, say.clone()));
    let state = Between {
        proxy: Arc::new(proxy),
        gate: Gate::default(),
        say,
        server: Some(input),
        client: to,
        under: HashMap::new(),
        number: 0,
    };
    state.run(happenings).await;
    end(&mut child).await
}

async fn of_server(output: ChildStdout, say: mpsc::Sender<Happening>) {
    let output = BufReader::new(output);
    lines(output, limits::MCP_SERVER_LINE, say, Happening::FromServer, Happening::ServerGone).await;
}

/// Hands on each line, and says so when there are no more; one that is too long is the end.
async fn lines(
    mut from: impl AsyncBufRead + Unpin,
    most: usize,
    say: mpsc::Sender<Happening>,
    one: fn(Vec<u8>) -> Happening,
    gone: Happening,
) {
    loop {
        let mut line = Vec::new();
        let read = (&mut from).take(most as u64 + 1).read_until(b'\n', &mut line).await;
        let whole = matches!(read, Ok(count) if count > 0 && line.len() <= most);
        if !whole || say.send(one(line)).await.is_err() {
            // Nobody is left to hear it.
            let _ = say.send(gone).await;
            return;
        }
    }
}

/// Gives the server time to end by itself.
async fn end(child: &mut Child) -> io::Result<ExitStatus> {
    match tokio::time::timeout(limits::MCP_END, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
}

struct Between<W> {
    proxy: Arc<Proxy>,
    gate: Gate,
    say: mpsc::Sender<Happening>,
    server: Option<ChildStdin>,
    client: W,
    under: HashMap<u64, Under>,
    number: u64,
}

impl<W: AsyncWrite + Unpin> Between<W> {
    async fn run(mut self, mut happenings: mpsc::Receiver<Happening>) {
        while let Some(happening) = happenings.recv().await {
            let gone = match happening {
                Happening::FromClient(line) => self.client_said(&line).await,
                Happening::FromServer(line) => self.server_said(&line).await,
                Happening::Judged(number, judged) => self.judged(number, judged).await,
                Happening::Unlisted(number) => {
                    self.held_back(number, "the server does not list its tools, so none is called").await
                }
                // The server may still answer what it was asked, and then it ends, too.
                Happening::ClientGone => {
                    self.server = None;
                    Ok(())
                }
                Happening::ServerGone => return,
            };
            if gone.is_err() {
                return;
            }
        }
    }

    async fn client_said(&mut self, line: &[u8]) -> io::Result<()> {
        match self.gate.hear_client(line) {
            FromClient::Pass(line) => self.tell_server(&line).await,
            FromClient::Answer(line) => self.tell_client(line.as_bytes()).await,
            FromClient::Drop => Ok(()),
            FromClient::Cancelled(id, line) => {
                let judged =
                    self.under.iter().find(|(_, one)| one.called.id == id).map(|(number, _)| *number);
                match judged.and_then(|number| self.under.remove(&number)) {
                    // The server has not heard of it.
                    Some(one) => {
                        one.judging.abort();
                        Ok(())
                    }
                    None => self.tell_server(&line).await,
                }
            }
            FromClient::Judge(called) => self.judge(*called).await,
        }
    }

    async fn server_said(&mut self, line: &[u8]) -> io::Result<()> {
        match self.gate.hear_server(line) {
            FromServer::Pass => self.tell_client(line).await?,
            FromServer::Own { more: true } => {
                let next = self.gate.ask_for_tools(None);
                return self.tell_server(&next).await;
            }
            FromServer::Own { more: false } => {
                let waiting: Vec<u64> =
                    self.under.iter().filter(|(_, one)| one.listing).map(|(number, _)| *number).collect();
                for number in waiting {
                    let Some(one) = self.under.remove(&number) else { continue };
                    one.judging.abort();
                    if self.gate.adds(&one.called.tool).is_some() {
                        self.judge(one.called).await?;
                    } else {
                        let why = "the server does not list this tool";
                        self.tell_client(held_back(&one.called.id, why, None).as_bytes()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn judge(&mut self, called: Called) -> io::Result<()> {
        if self.under.len() >= limits::MCP_CALLS {
            let line = held_back(&called.id, "too many calls wait already", None);
            return self.tell_client(line.as_bytes()).await;
        }
        self.number += 1;
        let (number, say) = (self.number, self.say.clone());
        let Some(adds) = self.gate.adds(&called.tool) else {
            let asks = self.gate.ask_for_tools(called.meta.as_ref());
            let late = tokio::spawn(async move {
                let () = later(limits::MCP_LIST).await;
                let _ = say.send(Happening::Unlisted(number)).await;
            });
            self.under.insert(number, Under { called, judging: late.abort_handle(), listing: true });
            return self.tell_server(&asks).await;
        };
        let (proxy, of) = (Arc::clone(&self.proxy), called.clone());
        let judging = tokio::spawn(async move {
            let judged = proxy.judge(&of, &adds).await;
            let _ = say.send(Happening::Judged(number, judged)).await;
        });
        self.under.insert(number, Under { called, judging: judging.abort_handle(), listing: false });
        Ok(())
    }

    async fn judged(&mut self, number: u64, judged: Result<String, String>) -> io::Result<()> {
        // It may have been cancelled meanwhile.
        if self.under.remove(&number).is_none() {
            return Ok(());
        }
        match judged {
            Ok(line) => self.tell_server(&line).await,
            Err(line) => self.tell_client(line.as_bytes()).await,
        }
    }

    async fn held_back(&mut self, number: u64, why: &str) -> io::Result<()> {
        match self.under.remove(&number) {
            Some(one) => self.tell_client(held_back(&one.called.id, why, None).as_bytes()).await,
            None => Ok(()),
        }
    }

    async fn tell_server(&mut self, line: &str) -> io::Result<()> {
        match &mut self.server {
            Some(server) => {
                server.write_all(line.as_bytes()).await?;
                server.flush().await
            }
            // The client is gone, and what it asked for is not wanted any more.
            None => Ok(()),
        }
    }

    async fn tell_client(&mut self, line: &[u8]) -> io::Result<()> {
        self.client.write_all(line).await?;
        self.client.flush().await
    }
}

impl Proxy {
    /// The line for the server, or else for the client.
    async fn judge(&self, called: &Called, adds: &[&str]) -> Result<String, String> {
        let no = |why: &str| held_back(&called.id, why, None);
        let tool = format!("mcp__{}__{}", self.server, called.tool);
        let used = Use { agent: None, tool: &tool, arguments: &called.arguments, folder: None };
        let Some(meaning) = self.mapping.meaning(used) else {
            return Err(no(&format!("no rule says what {tool} means")));
        };
        let bus = self.line.bus().map_err(|why| no(&format!("{why}; nothing is done without its word")))?;
        // What annotations add is asked for besides: all of them have to be allowed.
        let kinds = std::iter::once(meaning.intent.as_str()).chain(adds.iter().copied());
        for kind in kinds {
            let question = self.question(called, &tool, &meaning, kind);
            let patience = Patience { answer: limits::HOOK_ANSWER, vote: self.wait, approval: self.wait };
            match decision::ask(&bus, &SystemClock as &dyn Clock, &question, &patience).await {
                Word::Allowed => {}
                Word::WaitsForPerson(id, why) | Word::WaitsForVote(id, why) => {
                    return Err(held_back(&called.id, &why, Some(&id.to_string())));
                }
                Word::Denied(why) => return Err(no(&why)),
                Word::Away(why) => return Err(no(&format!("{why}; nothing is done without its word"))),
            }
        }
        Ok(called.line.clone())
    }

    fn question(&self, called: &Called, tool: &str, meaning: &Meaning, kind: &str) -> Question {
        let whole: Value = json!([self.agent, tool, called.arguments, kind, meaning.target]);
        let digest = sha256(whole.to_string().as_bytes());
        let payload = json!({
            "agent": self.agent,
            "tool": called.tool,
            "server": self.server,
            "arguments": on_record(&called.arguments),
        });
        Question {
            actor: Actor { kind: ActorKind::Agent, name: self.agent.clone() },
            kind: kind.to_owned(),
            target: meaning.target.clone(),
            payload: Json::of(&payload),
            same: format!("mcp-{digest}"),
        }
    }
}
