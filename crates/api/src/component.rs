//! The component: what the control plane must know of it, and its life.
//!
//! ```text
//! run/manifest.json ─► settings      keys/api.token ─► token of events (made at the first start)      keys/tokens.json ─► tokens of everybody
//! listen ─► run/api.url ─► ready ─► serve ─► told to end ─► requests under way ─► end
//! ```

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use grace_core::{
    instance::Instance,
    kernels::{BuiltIn, clarity::database},
};
use grace_cortex::governance;
use grace_kernel::process::{Context, Environment, KernelError, life::Signal};
use grace_orchestration::htm;
use grace_types::{
    chance::OsEntropy,
    manifest::{ApiSettings, ComponentKind, Manifest, Permissions},
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    api::{Api, router},
    bearer::file::Tokens,
    control_plane::ControlPlane,
    events::sender::SUBJECTS,
    server,
    telemetry::{self, Telemetry},
    token::Token,
    trace::{self, Tracer},
};

/// Its name.
pub const NAME: &str = "api_server";

/// What the control plane must know.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: NAME,
    kind: ComponentKind::Kernel,
    critical: false,
    depends_on: &["message_bus"],
    watchdog: Duration::from_secs(10),
    permissions,
    stateful: false,
    run,
};

fn permissions() -> Permissions {
    let inbox = format!("_INBOX.{NAME}.>");
    // It speaks for agents and remote actors, and looks; it can neither speak as an operator nor have anything done by itself.
    Permissions::only(
        [
            SUBJECTS,
            "grace.intent.agent.*",
            "grace.intent.remote.*",
            htm::shell::LOOK_SUBJECT,
            governance::shell::DESK_SUBJECT,
        ],
        [telemetry::SUBJECTS, trace::SUBJECTS, "grace.cortex.decided.*", "grace.htm.ended.*", &inbox],
    )
}

fn run(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run(environment, main)
}

/// Serves until it is told to stop.
///
/// # Errors
/// The manifest, the token or the address cannot be used, or there is no bus.
pub async fn main(mut context: Context) -> Result<(), KernelError> {
    let system = |what| move |source| KernelError::System { what, source };
    let Some(bus) = context.bus.clone() else {
        let detail = "the API needs the bus".to_owned();
        return Err(KernelError::Environment { name: "NATS_URL", detail });
    };
    let instance = Instance::at(&context.environment.data);
    let manifest = manifest(&instance).map_err(system("the manifest"))?;
    let token = Token::load_or_make(&instance.api_token(), &mut *context.entropy)
        .map_err(system("the API's token"))?;
    let listener = listen(&manifest.api, &instance.api_url()).map_err(system("the API's address"))?;
    let heard = Arc::new(Telemetry::default());
    tokio::spawn(telemetry::follow(
        Arc::clone(&heard),
        bus.clone(),
        Arc::clone(&context.clock),
        context.component().to_owned(),
    ));
    let tracer = manifest.telemetry.otlp.as_deref().map(|base| Tracer::start(base, Box::new(OsEntropy)));
    let tracer = tracer.transpose().map_err(system("the thread that sends spans"))?;
    if let Some(tracer) = &tracer {
        tokio::spawn(trace::follow(tracer.clone(), bus.clone(), context.component().to_owned()));
    }
    let control_plane = ControlPlane::at(instance.control_socket(), Arc::clone(&context.clock));
    let clock = Arc::clone(&context.clock);
    let tokens = (token, Tokens::at(instance.tokens()));
    let files = (database(instance.data()), instance.hooks());
    let api = Api::new(manifest.api, clock, (bus, heard), control_plane, tokens, files).with_tracer(tracer);
    let (stop, stopped) = oneshot::channel::<()>();
    let address = listener.local_addr().map_err(system("the API's address"))?;
    let mut serving = tokio::spawn(server::serve(listener, router(Arc::new(api)), async {
        let _ = stopped.await;
    }));
    context.life.ready(format!("serving http://{address}"));
    let mut stop = Some(stop);
    loop {
        tokio::select! {
            biased;
            signal = context.life.next() => match signal {
                Signal::Beat => context.life.beat(),
                // The address and the limits hold until the end.
                Signal::Reload => {}
                Signal::Stop(_) => {
                    context.life.stopping();
                    stop = None;
                }
            },
            done = &mut serving => {
                return match (done, stop) {
                    (Ok(()), None) => Ok(()),
                    (Ok(()), Some(_)) => Err(ended("it ended by itself".to_owned())),
                    (Err(e), _) => Err(ended(e.to_string())),
                };
            }
        }
    }
}

fn ended(why: String) -> KernelError {
    KernelError::System { what: "the server", source: io::Error::other(why) }
}

fn manifest(instance: &Instance) -> io::Result<Manifest> {
    Ok(serde_json::from_slice(&std::fs::read(instance.manifest())?)?)
}

/// Listens where the manifest says, and writes down where that is. Where the system chooses the port, it is the one of the process
/// before if that is free: clients that know it go on.
fn listen(settings: &ApiSettings, url: &Path) -> io::Result<TcpListener> {
    let wanted = SocketAddr::new(settings.host, settings.port);
    let before = (settings.port == 0).then(|| std::fs::read_to_string(url).ok()).flatten();
    let before = before.and_then(|text| text.trim_end().strip_prefix("http://")?.parse::<SocketAddr>().ok());
    let again = before.filter(|address| address.ip() == settings.host).and_then(|a| server::listen(a).ok());
    let listener = again.map_or_else(|| server::listen(wanted), Ok)?;
    let fresh = url.with_extension("url.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "http://{}", listener.local_addr()?)?;
    std::fs::rename(&fresh, url)?;
    Ok(listener)
}
