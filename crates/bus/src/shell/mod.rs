//! The broker's sockets: accepts, reads into the broker, writes what it wants written.
//!
//! One task accepts, ticks and takes commands; one small task per connection waits for its socket. They share the
//! broker behind a lock that is only ever held for one batch: a connection's task reads as much as there is into the
//! one shared read buffer, hands it to the broker, then writes the output of every connection that got some, with
//! one write each. An idle connection therefore holds no buffer, and a message crosses the broker within one wake-up.
//! A socket that takes no more is left to its own task, which waits until it does.
//!
//! On a current-thread runtime the lock is never contended. Listeners come already bound, so that the supervisor can
//! keep them open over the broker's death and no client ever sees a refused connection.
//!
//! Deliberately not here: any decision. What to answer, whom to cut off and when is the broker's.

mod socket;

use std::{
    future::{Future, poll_fn},
    io,
    os::unix::net::UnixListener as StdUnixListener,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use grace_types::{
    chance::{Entropy, OsEntropy},
    time::{Clock, Monotonic, SystemClock},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use self::socket::{Listener, ReadSide, WriteSide};
use crate::{
    auth::{AuthError, AuthTable},
    broker::{Broker, BrokerConfig, BrokerEvent, Closing, ConnId, ConnectionInfo, Peer, Statistics},
    limits::READ_BUFFER_BYTES,
    mapping::{MappingError, SubjectMapping},
    message::Headers,
    protocol::headers,
};

/// What a broker needs besides its sockets.
pub struct ServeConfig {
    /// Limits and timeouts.
    pub broker: BrokerConfig,
    /// Who may connect.
    pub users: AuthTable,
    /// Subject mappings in force from the start.
    pub mappings: Vec<SubjectMapping>,
    /// Timeouts are counted in it.
    pub clock: Arc<dyn Clock>,
    /// For nonces and the choice among queue members.
    pub entropy: Box<dyn Entropy>,
}

impl ServeConfig {
    /// The defaults, for these users, on the machine's clock and generator.
    #[must_use]
    pub fn for_users(users: AuthTable) -> Self {
        Self {
            broker: BrokerConfig::default(),
            users,
            mappings: Vec::new(),
            clock: Arc::new(SystemClock),
            entropy: Box::new(OsEntropy),
        }
    }
}

/// Sockets that are bound and listen already.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Loopback only.
    pub tcp: Vec<std::net::TcpListener>,
    /// Peers must be this process's user, or root.
    pub unix: Vec<StdUnixListener>,
}

/// What the broker's owner can ask of it. An answer that nobody waits for is dropped.
#[derive(Debug)]
pub enum BrokerCommand {
    /// Puts another table of users in force.
    SetUsers(AuthTable, oneshot::Sender<Result<(), AuthError>>),
    /// Puts another set of mappings in force.
    SetMappings(Vec<SubjectMapping>, oneshot::Sender<Result<(), MappingError>>),
    /// Asks for counters and gauges.
    Statistics(oneshot::Sender<Statistics>),
    /// Asks for the list of connections.
    Connections(oneshot::Sender<Vec<ConnectionInfo>>),
    /// Publishes a message, needing no permission. Answers with the number of recipients.
    Publish {
        /// A literal subject.
        subject: String,
        /// Where answers go.
        reply: Option<String>,
        /// Metadata; a message with headers that cannot be sent reaches nobody.
        headers: Headers,
        /// The payload.
        payload: Bytes,
        /// Takes the number of recipients.
        delivered: Option<oneshot::Sender<usize>>,
    },
    /// Starts the way out; `serve` returns once the last connection is gone or the time is up.
    LameDuck,
}

/// Why `serve` could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The table of users is refused.
    #[error(transparent)]
    Users(#[from] AuthError),
    /// The mappings are refused.
    #[error(transparent)]
    Mappings(#[from] MappingError),
    /// A TCP listener that others than this machine could reach: the protocol is not encrypted.
    #[error("{0} is not a loopback address")]
    NotLoopback(std::net::SocketAddr),
    /// A listener is of no use.
    #[error("a listener cannot be used: {0}")]
    Listener(#[from] io::Error),
}

/// Runs a broker until `shutdown` is ready, or until a lame duck's last connection is gone.
///
/// Events go to `events`; when it is full they are dropped and counted ([`Statistics`]), the broker never waits.
///
/// # Errors
/// See [`ServeError`]; all of them come at once, before anything is accepted.
pub async fn serve(
    config: ServeConfig,
    listeners: Listeners,
    mut commands: mpsc::Receiver<BrokerCommand>,
    events: mpsc::Sender<BrokerEvent>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut broker = Broker::new(config.broker, &config.users, config.entropy)?;
    broker.set_mappings(&config.mappings)?;
    let mut listeners = socket::adopt(listeners)?;
    let hub = Arc::new(Hub {
        clock: config.clock,
        core: Mutex::new(Core {
            broker,
            links: Vec::new(),
            read_buffer: vec![0; READ_BUFFER_BYTES],
            events,
            dropped: 0,
        }),
    });
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut commands_open = true;
    let mut accepting = true;
    loop {
        let wait = hub.tick();
        if hub.lock().broker.is_lame_duck() {
            // Who connects now waits in the backlog for the next broker, if the supervisor holds the socket.
            listeners.clear();
            if hub.lock().broker.connection_count() == 0 {
                return Ok(());
            }
        }
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            command = commands.recv(), if commands_open => match command {
                Some(command) => hub.obey(command),
                None => commands_open = false,
            },
            accepted = accept(&mut listeners), if accepting && !listeners.is_empty() => match accepted {
                Ok((read, write, peer)) => {
                    if let Some(id) = hub.admit(write, peer) {
                        connections.spawn(run(hub.clone(), id, read));
                    }
                }
                // Out of descriptors: the listener stays ready, so trying again at once would spin.
                Err(_) => accepting = false,
            },
            Some(_) = connections.join_next() => {}
            () = pause(wait) => accepting = true,
        }
    }
    hub.lock().flush();
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the shell owns the broker's timer; the broker says how long")]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

async fn accept(listeners: &mut [Listener]) -> io::Result<(ReadSide, WriteSide, Peer)> {
    poll_fn(|cx| {
        for listener in &mut *listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// What all tasks share.
struct Hub {
    clock: Arc<dyn Clock>,
    core: Mutex<Core>,
}

struct Core {
    broker: Broker,
    /// By the connection's slot.
    links: Vec<Option<Link>>,
    read_buffer: Vec<u8>,
    events: mpsc::Sender<BrokerEvent>,
    /// Events that found the channel full.
    dropped: u64,
}

/// The shell's side of a connection.
struct Link {
    id: ConnId,
    write: WriteSide,
    /// The socket takes no more for now; its own task waits for it.
    blocked: bool,
    /// The socket failed.
    broken: bool,
    waker: Option<Waker>,
}

impl Link {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

async fn run(hub: Arc<Hub>, id: ConnId, mut read: ReadSide) {
    poll_fn(|cx| hub.lock().poll_connection(cx, &*hub.clock, id, &mut read)).await;
    let now = hub.now();
    let mut core = hub.lock();
    core.links[id.slot()] = None;
    core.broker.disconnected(id, now);
    core.forward_events();
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while it was held is a bug; going on with the broker beats taking the bus down with it.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Monotonic {
        self.clock.now().mono
    }

    /// Lets timeouts happen; returns how long until the next.
    fn tick(&self) -> Duration {
        let now = self.now();
        let mut core = self.lock();
        let next = core.broker.tick(now);
        core.flush();
        // The clock may stand in a test; a timer of zero would spin.
        next.since(now).max(Duration::from_millis(1))
    }

    fn admit(&self, write: WriteSide, peer: Peer) -> Option<ConnId> {
        let now = self.now();
        let mut core = self.lock();
        let id = match core.broker.connect(peer, now) {
            Ok(id) => id,
            Err(refused) => {
                // Best effort: a fresh socket takes so little at once, or it does not matter.
                let _ = write.try_write(refused.text());
                return None;
            }
        };
        if core.links.len() <= id.slot() {
            core.links.resize_with(id.slot() + 1, || None);
        }
        core.links[id.slot()] = Some(Link { id, write, blocked: false, broken: false, waker: None });
        core.flush();
        Some(id)
    }

    fn obey(&self, command: BrokerCommand) {
        let now = self.now();
        let mut core = self.lock();
        match command {
            BrokerCommand::SetUsers(users, answer) => {
                let _ = answer.send(core.broker.set_users(&users, now));
            }
            BrokerCommand::SetMappings(mappings, answer) => {
                let _ = answer.send(core.broker.set_mappings(&mappings));
            }
            BrokerCommand::Statistics(answer) => {
                let mut statistics = core.broker.statistics();
                statistics.tally.events_dropped += core.dropped;
                let _ = answer.send(statistics);
            }
            BrokerCommand::Connections(answer) => {
                let _ = answer.send(core.broker.connections());
            }
            BrokerCommand::Publish { subject, reply, headers: pairs, payload, delivered } => {
                let mut block = Vec::new();
                let count = match headers::encode(&mut block, &pairs) {
                    Ok(()) => core.broker.publish_internal(&subject, reply.as_deref(), &block, &payload, now),
                    Err(_) => 0,
                };
                if let Some(answer) = delivered {
                    let _ = answer.send(count);
                }
            }
            BrokerCommand::LameDuck => core.broker.lame_duck(now),
        }
        core.flush();
    }
}

impl Core {
    /// One connection's turn. Ready when the connection is over.
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
        clock: &dyn Clock,
        id: ConnId,
        read: &mut ReadSide,
    ) -> Poll<()> {
        loop {
            let Some(link) = self.links.get_mut(id.slot()).and_then(Option::as_mut) else {
                return Poll::Ready(());
            };
            if !link.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                link.waker = Some(cx.waker().clone());
            }
            while link.blocked && !link.broken {
                match link.write.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        link.blocked = false;
                        flush_link(&mut self.broker, link);
                    }
                    Poll::Ready(Err(_)) => link.broken = true,
                    Poll::Pending => break,
                }
            }
            if link.broken || self.broker.closing(id) == Closing::Now {
                return Poll::Ready(());
            }
            let count = match read.poll_read(cx, &mut self.read_buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_) | Ok(0)) => return Poll::Ready(()),
                Poll::Ready(Ok(count)) => count,
            };
            self.take(id, count, clock.now().mono);
            if count == self.read_buffer.len() {
                // There is likely more; the others get their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Hands `count` bytes of the read buffer to the broker and writes what comes of it.
    fn take(&mut self, id: ConnId, count: usize, now: Monotonic) {
        let mut at = 0;
        while at < count {
            at += self.broker.receive(id, &self.read_buffer[at..count], now);
            self.flush();
        }
    }

    /// Writes what the broker wants written, and passes on its events.
    fn flush(&mut self) {
        while let Some(id) = self.broker.next_dirty() {
            if let Some(link) = self.links.get_mut(id.slot()).and_then(Option::as_mut).filter(|l| l.id == id)
            {
                flush_link(&mut self.broker, link);
            }
        }
        self.forward_events();
    }

    fn forward_events(&mut self) {
        while let Some(event) = self.broker.next_event() {
            if self.events.try_send(event).is_err() {
                self.dropped += 1;
            }
        }
    }
}

fn flush_link(broker: &mut Broker, link: &mut Link) {
    while !link.blocked && !link.broken {
        let outgoing = broker.outgoing(link.id);
        if outgoing.is_empty() {
            break;
        }
        let wanted = outgoing.len();
        match link.write.try_write(outgoing) {
            Ok(written) => {
                broker.sent(link.id, written);
                link.blocked = written < wanted;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => link.blocked = true,
            Err(_) => link.broken = true,
        }
    }
    if link.blocked || link.broken || broker.closing(link.id) != Closing::No {
        link.wake();
    }
}
