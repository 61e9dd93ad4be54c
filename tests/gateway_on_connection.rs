//! How the gateway example has hyper call its service.

#[path = "../examples/gateway/on_connection.rs"]
mod on_connection;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::{Request, Response};
use hyper::service::Service as _;
use on_connection::OnConnection;
use shadowcat::peer::PeerAddr;
use tokio_test::{assert_pending, assert_ready_ok, task::spawn};
use tower::{Service, service_fn};

const PEER: &str = "192.0.2.1:1234";

fn peer() -> SocketAddr {
    PEER.parse().expect("an address")
}

/// Counts its clones.
struct Cloned<S>(S, Arc<AtomicUsize>);

impl<S: Clone> Clone for Cloned<S> {
    fn clone(&self) -> Self {
        self.1.fetch_add(1, Relaxed);
        Self(self.0.clone(), Arc::clone(&self.1))
    }
}

impl<S: Service<R>, R> Service<R> for Cloned<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn service_that_is_ready_is_called_without_a_clone_and_told_the_peer() {
    let clones = Arc::new(AtomicUsize::new(0));
    let inner = service_fn(|request: Request<()>| async move {
        let peer = request.extensions().get::<PeerAddr>().copied();
        Ok::<_, Infallible>(Response::new(peer))
    });
    let service = OnConnection::new(Cloned(inner, Arc::clone(&clones)), peer());
    for _ in 0..3 {
        let Ok(response) = service.call(Request::new(())).await;
        assert_eq!(*response.body(), Some(PeerAddr::new(peer())));
    }
    assert_eq!(clones.load(Relaxed), 0);
}

#[tokio::test]
async fn service_that_is_not_ready_is_waited_for() {
    let (inner, mut handle) = tower_test::mock::pair::<Request<()>, Response<()>>();
    handle.allow(0);
    let service = OnConnection::new(inner, peer());
    let mut call = spawn(service.call(Request::new(())));
    assert_pending!(call.poll());
    handle.allow(1);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    let (request, reply) = handle.next_request().await.expect("a request");
    assert!(request.extensions().get::<PeerAddr>().is_some());
    reply.send_response(Response::new(()));
    assert!(call.is_woken());
    assert_ready_ok!(call.poll());
}
