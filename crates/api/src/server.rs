//! Sockets: accepting within bounds, HTTP/1 with time limits, and the orderly end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use grace_kernel::process::{later, tell};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{bearer::Peer, limits};

/// Connections that wait to be accepted, as many as can be open.
const BACKLOG: u32 = limits::CONNECTIONS as u32;

/// Listens at `address`. A port that this program used a moment ago may be used again.
///
/// # Errors
/// What the system said, with the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            e.kind(),
            format!("another program listens at {address}: stop it, or set `api: {{port: 0}}` in the manifest for any free port"),
        ),
        _ => io::Error::new(e.kind(), format!("{address}: {e}")),
    })
}

/// Serves until `stop` is done; requests under way have [`limits::DRAIN`] then.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(limits::HEADERS);
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let (stream, peer) = accept(&listener).await;
            let routes = TowerToHyperService::new(router.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip().to_canonical()));
                routes.call(request)
            });
            let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                // Its other end went away, or broke the protocol and was told so.
                let _ = connection.await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    let _ = timeout(limits::DRAIN, connections.shutdown()).await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and whole: there is nothing to gather.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(e) if is_the_clients(&e) => {}
            Err(e) => {
                // No descriptors, most likely: some will be free in a moment.
                tell(&format!("a connection could not be accepted: {e}"));
                later(Duration::from_secs(1)).await;
            }
        }
    }
}

fn is_the_clients(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
