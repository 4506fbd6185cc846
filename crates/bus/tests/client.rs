//! The client facade: one suite, run over each of the three backs.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "client/native.rs"]
mod native;
#[path = "client/suite.rs"]
mod suite;

mod fixture;

use std::sync::Arc;

use fixture::{NatsServer, Server, users};
use grace_bus::{
    Bus,
    client::{
        cluster::{self, ClusterOptions},
        memory::MemoryNet,
        native::{NativeOptions, Target, connect},
    },
};
use grace_types::{chance::OsEntropy, time::SystemClock};

#[tokio::test]
async fn native_over_unix() {
    let server = Server::start();
    let open = async |user: &str| {
        connect(NativeOptions::new(Target::Unix(server.unix_path.clone()), user, user, user))
    };
    suite::run(open).await;
}

#[tokio::test]
async fn native_over_tcp_to_our_broker() {
    let server = Server::start();
    let open =
        async |user: &str| connect(NativeOptions::new(Target::Tcp(server.address()), user, user, user));
    suite::run(open).await;
}

#[tokio::test]
async fn native_over_tcp_to_nats_server() {
    let server = NatsServer::start().await;
    let open =
        async |user: &str| connect(NativeOptions::new(Target::Tcp(server.address.clone()), user, user, user));
    suite::run(open).await;
}

async fn cluster(address: &str, user: &str) -> Bus {
    let options = ClusterOptions {
        servers: format!("nats://{address}"),
        user: user.into(),
        password: user.into(),
        name: user.into(),
        entropy: Box::new(OsEntropy),
    };
    cluster::connect(options).await.unwrap()
}

#[tokio::test]
async fn cluster_to_nats_server() {
    let server = NatsServer::start().await;
    suite::run(async |user: &str| cluster(&server.address, user).await).await;
}

#[tokio::test]
async fn cluster_to_our_broker() {
    let server = Server::start();
    suite::run(async |user: &str| cluster(&server.address(), user).await).await;
}

#[tokio::test]
async fn memory() {
    let net = MemoryNet::new(&users(), 1, Arc::new(SystemClock)).unwrap();
    suite::run(async |user: &str| net.client(user).unwrap().bus()).await;
}
