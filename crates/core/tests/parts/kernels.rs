//! The built-in kernels over real sockets: each in a thread with a runtime of its own, which can be dropped as a process dies.

use std::{
    collections::BTreeMap, net::TcpListener, os::unix::net::UnixListener, thread::JoinHandle, time::Duration,
};

use grace_bus::{
    Bus, Message, Subscription,
    auth::{AllowResponses, AuthTable, Credential, User},
    client::native::{self, NativeOptions, Target},
    shell::Listeners,
};
use grace_core::{
    instance::Instance,
    kernels::{self, health_monitor, message_bus},
    notify::{Notification, NotifySocket},
    status::{ComponentState, ComponentStatus, InstanceState, Status},
};
use grace_kernel::process::{self, Context, Environment, KernelError};
use grace_types::{
    event::Event,
    manifest::{ComponentKind, Manifest, Permissions},
    time::Timestamp,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::wait;

/// An instance with a life line and the broker's sockets, which outlive every kernel.
struct House {
    _folder: tempfile::TempDir,
    instance: Instance,
    tcp: TcpListener,
    unix: UnixListener,
}

/// A kernel in its thread; dropped, it dies at once.
struct Running {
    die: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.die.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::at(folder.path());
        std::fs::create_dir_all(instance.run()).unwrap();
        std::fs::create_dir_all(instance.journal("any").parent().unwrap()).unwrap();
        let mut permissions: BTreeMap<&str, Permissions> =
            kernels::all().into_iter().map(|kernel| (kernel.name, (kernel.permissions)())).collect();
        let everything = Permissions::only([">"], [">"]);
        permissions.insert("operator", everything);
        permissions.insert("web", Permissions::only(["app.>"], ["app.>"]));
        let users = permissions
            .into_iter()
            .map(|(name, permissions)| User {
                name: name.to_owned(),
                credential: Credential::of_password(name),
                permissions,
                allow_responses: Some(AllowResponses::DEFAULT),
            })
            .collect();
        let house = Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            unix: UnixListener::bind(instance.bus_socket()).unwrap(),
            instance,
            _folder: folder,
        };
        house.write_users(&AuthTable { users });
        let manifest = serde_json::to_vec(&Manifest::default()).unwrap();
        std::fs::write(house.instance.manifest(), manifest).unwrap();
        house
    }

    fn write_users(&self, users: &AuthTable) {
        std::fs::write(self.instance.bus_auth(), serde_json::to_vec(users).unwrap()).unwrap();
    }

    fn environment(&self, component: &str) -> Environment {
        Environment {
            component: component.to_owned(),
            data: self.instance.data().to_owned(),
            notify_socket: Some(self.instance.notify_socket().into()),
            watchdog: Some(Duration::from_millis(200)),
            bus_socket: Some(self.instance.bus_socket()),
            nats_url: Some(format!("nats://{component}:{component}@{}", self.tcp.local_addr().unwrap())),
        }
    }

    fn start<M>(&self, component: &str, main: M) -> Running
    where
        M: AsyncFnOnce(Context) -> Result<(), KernelError> + Send + 'static,
    {
        let environment = self.environment(component);
        let (die, dying) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let context = process::context(environment).unwrap();
                tokio::select! {
                    ended = main(context) => ended.unwrap(),
                    _ = dying => {}
                }
            });
        });
        Running { die: Some(die), thread: Some(thread) }
    }

    fn start_bus(&self) -> Running {
        let listeners = Listeners {
            tcp: vec![self.tcp.try_clone().unwrap()],
            unix: vec![self.unix.try_clone().unwrap()],
        };
        self.start("message_bus", async |context| message_bus::main(context, listeners).await)
    }

    fn life_line(&self) -> NotifySocket {
        NotifySocket::from_fd(NotifySocket::bind(&self.instance.notify_socket()).unwrap()).unwrap()
    }

    async fn client(&self, user: &str) -> Bus {
        let options = NativeOptions::new(Target::Unix(self.instance.bus_socket()), user, user, user);
        let bus = native::connect(options);
        in_time("connected", bus.connected().wait_for(|connected| *connected)).await.unwrap();
        bus
    }
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(wait::DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

async fn ready(life_line: &NotifySocket) {
    let said_ready = async {
        loop {
            let said = life_line.recv().await.unwrap();
            if said.iter().any(|d| d.notifications.contains(&Notification::Ready)) {
                return;
            }
        }
    };
    in_time("READY=1", said_ready).await;
}

/// Asks until there is an answer: a kernel takes commands a moment after it is ready.
async fn ask(bus: &Bus, kernel: &str, body: &str) -> Value {
    let subject = format!("grace.cmd.{kernel}");
    let asked = async {
        loop {
            let message = Message::new(subject.clone(), body.to_owned());
            if let Ok(answer) = bus.request(message, Duration::from_secs(5)).await {
                return serde_json::from_slice(&answer.payload).unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    in_time(body, asked).await
}

async fn next(messages: &mut Subscription) -> Message {
    in_time("a message", messages.next()).await.unwrap()
}

#[tokio::test]
async fn the_bus_answers_questions_and_keeps_its_mappings_over_its_death() {
    let house = House::new();
    let life_line = house.life_line();
    let running = house.start_bus();
    ready(&life_line).await;
    let operator = house.client("operator").await;
    let statistics = ask(&operator, "message_bus", r#"{"command":{"op":"statistics"}}"#).await;
    assert!(statistics["done"]["connections"].as_u64().unwrap() >= 2, "{statistics}");
    let connections = ask(&operator, "message_bus", r#"{"command":{"op":"connections"}}"#).await;
    let users: Vec<_> = connections["done"].as_array().unwrap().iter().map(|c| c["user"].as_str()).collect();
    assert!(users.contains(&Some("operator")), "{connections}");
    let mapping = json!([{"source": "app.old", "destinations": [{"subject": "app.new", "weight": 100}]}]);
    let set = |mappings: &Value| json!({"command": {"op": "set_mappings", "mappings": mappings}}).to_string();
    assert_eq!(ask(&operator, "message_bus", &set(&mapping)).await, json!({"done": null}));
    let bad = json!([{"source": "a", "destinations": [{"subject": "b", "weight": 90}, {"subject": "c", "weight": 20}]}]);
    let refused = ask(&operator, "message_bus", &set(&bad)).await;
    assert_eq!(refused["refused"]["code"], "bad_mapping");
    for body in ["", "{}", r#"{"command":{"op":"explode"}}"#] {
        let answer = ask(&operator, "message_bus", body).await;
        assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
    }
    drop(running);
    let _running = house.start_bus();
    ready(&life_line).await;
    assert_eq!(ask(&operator, "message_bus", r#"{"command":{"op":"mappings"}}"#).await["done"], mapping);
    let mut new = operator.subscribe("app.new", None).await.unwrap();
    operator.flush().await.unwrap();
    operator.publish(Message::new("app.old", "x")).await.unwrap();
    assert_eq!(&next(&mut new).await.payload[..], b"x");
}

#[tokio::test]
async fn a_violation_of_permissions_is_published_as_an_event() {
    let house = House::new();
    let life_line = house.life_line();
    let _running = house.start_bus();
    ready(&life_line).await;
    let operator = house.client("operator").await;
    let mut events = operator.subscribe("grace.event.message_bus.>", None).await.unwrap();
    operator.flush().await.unwrap();
    let web = house.client("web").await;
    web.publish(Message::new("grace.cmd.message_bus", "{}")).await.unwrap();
    let message = next(&mut events).await;
    assert_eq!(message.subject, "grace.event.message_bus.permission_violation");
    let event = Event::from_headers(|name| message.headers.get(name), &message.payload).unwrap();
    assert_eq!(event.kind, "dev.grace.message_bus.permission_violation.v1");
    assert_eq!(event.data["event"]["user"], "web");
    assert_eq!(event.data["event"]["subject"], "grace.cmd.message_bus");
    assert_eq!(event.data["why"][0]["code"], "bus.permission_violation");
}

fn status(restarts: u32) -> Status {
    let web = ComponentStatus {
        name: "web".into(),
        layer: 0,
        kind: ComponentKind::Process,
        state: ComponentState::Ready,
        pid: Some(std::process::id()),
        restarts,
        health: None,
        since: Timestamp::EPOCH,
        ready: true,
        critical: false,
        heartbeat_age_seconds: None,
        muted: None,
        succeeded: None,
        message: None,
    };
    Status {
        state: InstanceState::Running,
        guardian_pid: 1,
        control_plane_pid: 1,
        control_plane_restarts: 0,
        bus_address: String::new(),
        since: Timestamp::EPOCH,
        warnings: Vec::new(),
        components: vec![web],
    }
}

fn fires(alerts: &Value) -> bool {
    let firing = |alert: &Value| alert["rule"] == "restarting_often" && alert["phase"] == "firing";
    alerts.as_array().is_some_and(|alerts| alerts.iter().any(firing))
}

/// Answers for the control plane: each time `web` has been restarted once more.
fn answer_status(operator: Bus) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut asked = operator.subscribe("grace.control_plane.status", None).await.unwrap();
        let mut restarts = 0;
        while let Some(message) = asked.next().await {
            let body = serde_json::to_vec(&status(restarts)).unwrap();
            operator.publish(Message::new(message.reply.unwrap(), body)).await.unwrap();
            restarts += 1;
        }
    })
}

#[tokio::test]
async fn the_health_monitor_measures_alerts_and_goes_on_after_the_bus_died() {
    let house = House::new();
    let life_line = house.life_line();
    let bus = house.start_bus();
    ready(&life_line).await;
    let operator = house.client("operator").await;
    let mut telemetry = operator.subscribe("grace.telemetry.health_monitor", None).await.unwrap();
    let mut alerts = operator.subscribe("grace.event.health_monitor.alert_firing", None).await.unwrap();
    let control_plane = answer_status(operator.clone());
    operator.flush().await.unwrap();
    let monitor = house.start("health_monitor", health_monitor::main);
    let first: Value = serde_json::from_slice(&next(&mut telemetry).await.payload).unwrap();
    assert_eq!(first["scores"]["web"], 1.0);
    assert!(first["components"]["web"]["memory_bytes"].as_u64().unwrap() > 1 << 20, "{first}");
    let second: Value = serde_json::from_slice(&next(&mut telemetry).await.payload).unwrap();
    assert!(second["components"]["web"]["cpu_cores"].is_number(), "{second}");
    let message = next(&mut alerts).await;
    let event = Event::from_headers(|name| message.headers.get(name), &message.payload).unwrap();
    assert_eq!(event.data["event"]["alert"]["rule"], "restarting_often");
    assert!(event.data["why"][0]["text"].as_str().unwrap().contains("above 1"), "{}", event.data);
    drop(bus);
    let _bus = house.start_bus();
    // What was on its way when the bus died may still be in the client; then a new round must come.
    while telemetry.try_next().is_some() {}
    let later: Value = serde_json::from_slice(&next(&mut telemetry).await.payload).unwrap();
    assert!(later["components"]["web"]["restarts"].as_u64().unwrap() >= 2, "{later}");
    let answer = ask(&operator, "health_monitor", r#"{"command":{"op":"alerts"}}"#).await;
    assert!(fires(&answer["done"]["alerts"]["active"]), "{answer}");
    // Another process of the monitor knows what the first one decided, without a single round.
    drop(monitor);
    control_plane.abort();
    let _monitor = house.start("health_monitor", health_monitor::main);
    let answer = ask(&operator, "health_monitor", r#"{"command":{"op":"component","name":"web"}}"#).await;
    assert!(fires(&answer["done"]["component"]["alerts"]), "{answer}");
    let answer = ask(&operator, "health_monitor", r#"{"command":{"op":"component","name":"nobody"}}"#).await;
    assert_eq!(answer["refused"]["code"], "not_found", "{answer}");
}
