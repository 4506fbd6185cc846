//! Death of the bus under load: clients and kernels come back by themselves, and what was acknowledged is on disk.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use grace_bus::{Bus, Message};
use rustix::process::Signal;
use tokio::sync::Mutex;

use crate::instance::{
    Instance, component,
    durable::{connect, durable_command, settled},
    kill,
};

/// Publishes numbers and hears them, and sends durable commands, while the bus and the monitor die; the acknowledged keys.
async fn load(bus: Bus, kill_one: impl Fn(u32)) -> BTreeSet<String> {
    let mut heard = bus.subscribe("test.numbers", None).await.unwrap();
    let publisher = bus.clone();
    let publishing = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        for n in 0u64.. {
            ticks.tick().await;
            // Refused while there is no connection: a plain publish promises nothing.
            let _ = publisher.publish(Message::new("test.numbers", n.to_string())).await;
        }
    });
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..4 {
        let commands: Vec<_> = (0..20)
            .map(|n| {
                let (bus, acknowledged) = (bus.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    let key = format!("{round}-{n}");
                    let answer =
                        bus.request_until(durable_command(), &key, Duration::from_secs(60)).await.unwrap();
                    assert_eq!(&answer.payload[..], br#"{"done":"configured"}"#);
                    acknowledged.lock().await.insert(key);
                })
            })
            .collect();
        // In the middle of it, with nothing but chance deciding what is under way.
        kill_one(round);
        for command in commands {
            command.await.unwrap();
        }
        // What is published after the death arrives: both sides have reconnected.
        while heard.try_next().is_some() {}
        tokio::time::timeout(Duration::from_secs(30), heard.next()).await.unwrap().unwrap();
    }
    publishing.abort();
    Arc::try_unwrap(acknowledged).unwrap().into_inner()
}

#[test]
fn clients_and_kernels_reconnect_when_the_bus_dies_under_load_and_nothing_acknowledged_is_lost() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    let before = instance.status();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let acknowledged = runtime.block_on(async {
        load(connect(&instance), |round| {
            let victim = if round % 2 == 0 { "message_bus" } else { "health_monitor" };
            kill(instance.component(victim).pid.unwrap(), Signal::KILL);
        })
        .await
    });
    let after = instance.all_ready();
    let restarts = |name: &str| component(&after, name).restarts - component(&before, name).restarts;
    assert_eq!((restarts("message_bus"), restarts("health_monitor"), restarts("web")), (2, 2, 0));
    instance.down();
    let mut keys = settled(&instance);
    keys.sort_unstable();
    assert_eq!(acknowledged.len(), 80);
    assert_eq!(keys, acknowledged.into_iter().collect::<Vec<_>>(), "each acknowledged command once");
}
