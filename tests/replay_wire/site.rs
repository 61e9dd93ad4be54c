use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use shadowcat::{
    message::MessageLayer,
    replay::{ReplayHandle, ReplayLayer, ReplayStats},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tower::{Layer, service_fn};

use super::Client;
use crate::replay_support::{self, Upstream};

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// Hyper, in front of a replay layer, in front of a server whose bodies the test has laid out.
pub(crate) struct Site {
    layer: ReplayLayer,
    pub(crate) replay: ReplayHandle,
    /// By the name that a request asks for, each for one request.
    bodies: Arc<Mutex<HashMap<String, AnyBody>>>,
    connections: Arc<watch::Sender<Connections>>,
}

/// How many there were, and how many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Connections {
    accepted: usize,
    open: usize,
}

/// Counts a connection as open until it is dropped, after a panic too.
struct Open(Arc<watch::Sender<Connections>>);

impl Open {
    fn new(connections: &Arc<watch::Sender<Connections>>) -> Self {
        connections.send_modify(|all| {
            all.accepted += 1;
            all.open += 1;
        });
        Self(Arc::clone(connections))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|all| all.open -= 1);
    }
}

impl Site {
    pub(crate) fn new(layer: ReplayLayer) -> Self {
        Self {
            replay: layer.handle(),
            layer,
            bodies: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// Lays out the body of the stream `name`; returns the server's end of it.
    pub(crate) fn expect(&self, name: usize) -> Upstream {
        let (upstream, body) = replay_support::body();
        self.expect_body(name, body);
        upstream
    }

    pub(crate) fn expect_body<B>(&self, name: usize, body: B)
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let mut bodies = self.bodies.lock().expect("not poisoned");
        bodies.insert(format!("/{name}"), body.boxed_unsync());
    }

    /// As [`expect`](Self::expect), of a stream that has said all of its `script` already.
    pub(crate) fn expect_all(&self, name: usize, script: &[String]) {
        let upstream = self.expect(name);
        for said in script {
            upstream.say(said.clone());
        }
    }

    /// Forgets what was laid out and never asked for.
    pub(crate) fn forget(&self) {
        self.bodies.lock().expect("not poisoned").clear();
    }

    /// Serves one connection.
    pub(crate) fn serve<I>(&self, io: I)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.server()(io);
    }

    fn server<I>(&self) -> impl Fn(I) + Send + 'static
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let bodies = Arc::clone(&self.bodies);
        let inner = service_fn(move |request: Request<_>| {
            let _: &shadowcat::body::RequestBody<hyper::body::Incoming> = request.body();
            let body = bodies
                .lock()
                .expect("not poisoned")
                .remove(request.uri().path());
            async move { Ok::<_, Infallible>(respond(body)) }
        });
        let service = MessageLayer::new().layer(self.layer.layer(inner));
        let connections = Arc::clone(&self.connections);
        move |io| {
            let open = Open::new(&connections);
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let _open = open;
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(io), service)
                    .await;
            });
        }
    }

    /// A connection within the process, whose two directions hold `bytes` each.
    pub(crate) fn connect(&self, bytes: usize) -> Client<DuplexStream> {
        let (near, far) = tokio::io::duplex(bytes);
        self.serve(far);
        Client::new(near)
    }

    /// Serves what comes over TCP.
    pub(crate) fn listen(&self) -> SocketAddr {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        let listener: TcpListener = socket.listen(4096).expect("a socket");
        let address = listener.local_addr().expect("a bound socket has one");
        let serve = self.server();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                serve(stream);
            }
        });
        address
    }

    /// Waits until `accepted` connections were there, and all of them are gone.
    pub(crate) async fn deserted(&self, accepted: usize) {
        let mut connections = self.connections.subscribe();
        let gone = connections.wait_for(|all| all.accepted >= accepted && all.open == 0);
        let all = *gone.await.expect("the site is there");
        assert_eq!(all.accepted, accepted);
    }

    /// Waits until the layer has read all streams to their end.
    pub(crate) async fn drained(&self) {
        // Nothing tells when the last is over, but it is once every task has had its turns.
        while !self.replay.streams().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until all but so many connections are gone.
    pub(crate) async fn left_open(&self, open: usize) {
        let mut connections = self.connections.subscribe();
        let left = connections.wait_for(|all| all.open == open);
        left.await.expect("the site is there");
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.connections.borrow().open
    }

    /// Asserts that the layer holds on to nothing; returns what it has counted.
    pub(crate) fn assert_idle(&self) -> ReplayStats {
        let stats = self.replay.stats();
        let now = (stats.attached, stats.detached, stats.suspended);
        assert_eq!(now, (0, 0, 0), "{:?}", self.replay.streams());
        assert_eq!(self.replay.streams(), []);
        stats
    }
}

fn respond(body: Option<AnyBody>) -> Response<AnyBody> {
    let mut response = Response::new(());
    let Some(body) = body else {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response.map(|()| Empty::new().map_err(|never| match never {}).boxed_unsync());
    };
    let kind = http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert("content-type", kind);
    response.map(|()| body)
}
