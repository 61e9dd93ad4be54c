//! Requests of those who are known and of those who are not, and a service that says what it got.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use shadowcat::auth::{Principal, Scopes, StaticTokens};
use tower::{Service, ServiceExt};

pub(crate) type Inner = Request<Full<Bytes>>;

pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#;

pub(crate) fn principal(subject: &str, scopes: &[&str]) -> Principal {
    let principal = Principal::builder(subject).with_scopes(scopes.iter().copied());
    principal.build().expect("it has a name")
}

pub(crate) fn scopes(names: &[&str]) -> Scopes {
    Scopes::new(names).expect("valid")
}

/// `alpha` is alice's, `beta` is bob's.
pub(crate) fn tokens() -> StaticTokens {
    StaticTokens::new()
        .add_token("alpha", principal("alice", &["tools"]))
        .and_then(|tokens| tokens.add_token("beta", principal("bob", &[])))
        .expect("valid")
}

pub(crate) fn post(body: &str) -> Inner {
    let request = Request::post("/mcp").header("content-type", "application/json");
    let body = Full::from(body.to_owned());
    request.body(body).expect("a valid request")
}

pub(crate) fn with(token: &str, mut request: Inner) -> Inner {
    let credentials = format!("Bearer {token}").parse().expect("ASCII");
    request.headers_mut().append("authorization", credentials);
    request
}

/// Answers 200, and keeps what it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    asked: Arc<Mutex<Vec<Parts>>>,
}

impl Recorder {
    /// The one request that has come since this was last asked.
    pub(crate) fn one(&self) -> Parts {
        let mut asked = std::mem::take(&mut *self.asked.lock().expect("no panic"));
        assert_eq!(asked.len(), 1, "asked once");
        asked.remove(0)
    }

    pub(crate) fn was_asked(&self) -> bool {
        !self.asked.lock().expect("no panic").is_empty()
    }
}

impl<B> Service<Request<B>> for Recorder {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        self.asked.lock().expect("no panic").push(parts);
        ready(Ok(Response::new(Full::from("inner"))))
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Had {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Had {
    pub(crate) fn challenge(&self) -> &str {
        let mut fields = self.headers.get_all("www-authenticate").iter();
        let field = fields
            .next()
            .map_or("", |field| field.to_str().expect("ASCII"));
        assert!(fields.next().is_none(), "one challenge");
        field
    }
}

pub(crate) async fn ask<S, ReqBody, ResBody>(service: &S, request: Request<ReqBody>) -> Had
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Error = Infallible> + Clone,
    ResBody: Body<Data = Bytes>,
    ResBody::Error: std::fmt::Debug,
{
    let Ok(response) = service.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Had {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

/// Panics if it is called when it is not ready, and counts its clones.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) clones: Arc<AtomicUsize>,
    is_ready: bool,
}

impl Clone for Gate {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self {
            clones: Arc::clone(&self.clones),
            is_ready: false,
        }
    }
}

impl<B> Service<Request<B>> for Gate {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called un-ready");
        ready(Ok(Response::new(Full::from("inner"))))
    }
}

/// How often a service was cloned since this was last asked.
pub(crate) fn count(of: &AtomicUsize) -> usize {
    of.swap(0, Ordering::Relaxed)
}
