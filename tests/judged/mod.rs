//! What the tests of the message layer's judgement share: a request goes in, and out comes what the
//! inner service got, or what the client is told.

// Not every test binary that includes this uses all of it.
#![allow(dead_code)]

use std::{cell::RefCell, convert::Infallible};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;
use shadowcat::{
    body::RequestBody,
    message::{Message, MessageLayer},
    protocol::{
        Era,
        ProtocolVersion::{V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25},
    },
    refusal::Refused,
};
use tokio_test::{assert_ready, task::spawn};
use tower::{Layer, ServiceExt, service_fn};

pub(crate) const A: Era = Era::Session(V2024_11_05);
pub(crate) const B: Era = Era::Session(V2025_03_26);
pub(crate) const C: Era = Era::Session(V2025_06_18);
pub(crate) const D: Era = Era::Session(V2025_11_25);
pub(crate) const E: Era = Era::Stateless;

pub(crate) const REQUEST: &str = r#"{"jsonrpc":"2.0","id":"r","method":"tools/list"}"#;
pub(crate) const NOTIFICATION: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub(crate) const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
pub(crate) const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;

/// A request that claims a version.
pub(crate) fn claiming(version: &str, method: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":{version},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}

/// A well-formed request of a stateless version.
pub(crate) fn modern(version: &str, method: &str) -> Ask {
    post(claiming(&format!("\"{version}\""), method))
        .version(version)
        .with("mcp-method", method)
}

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The inner service was called.
    Passed(Era),
    /// It was not.
    Refused {
        status: u16,
        code: i32,
        /// What the body says; `None` if there is no body.
        answer: Option<Value>,
        allow: Option<String>,
    },
}

/// A client's request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

pub(crate) fn post(body: impl Into<Vec<u8>>) -> Ask {
    let ask = Ask {
        method: Method::POST,
        headers: Vec::new(),
        body: body.into(),
    };
    ask.with("content-type", "application/json")
}

pub(crate) fn ask(method: Method) -> Ask {
    Ask {
        method,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

impl Ask {
    /// One more field, also of a name that is there already.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = (name.to_owned(), value.as_ref().to_owned());
        self.headers.push(field);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn version(self, version: &str) -> Self {
        self.with("mcp-protocol-version", version)
    }

    fn into_request(self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri("/mcp");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = Full::from(self.body);
        request.body(body).expect("a valid request")
    }

    pub(crate) fn through(self, layer: MessageLayer) -> Outcome {
        self.seen(layer).0
    }

    /// The outcome, and the header fields that the inner service got.
    pub(crate) fn seen(self, layer: MessageLayer) -> (Outcome, HeaderMap) {
        let is_post = self.method == Method::POST;
        let sent = self.body.clone();
        let seen = RefCell::new(None);
        let inner = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
            let before = seen.borrow_mut().replace(request);
            assert!(before.is_none(), "called twice");
            async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
        });
        let call = layer.layer(inner).oneshot(self.into_request());
        let Ok(response) = assert_ready!(spawn(call).poll(), "nothing to wait for");
        let Some(request) = seen.take() else {
            return (
                refused(response.map(BodyExt::boxed_unsync)),
                HeaderMap::new(),
            );
        };
        let (parts, body) = request.into_parts();
        let era = Era::of(&parts.extensions).expect("the era is told");
        let message = parts.extensions.get::<Message>();
        assert_eq!(message.is_some(), is_post);
        let body = assert_ready!(spawn(body.collect()).poll()).expect("cannot fail");
        assert_eq!(body.to_bytes(), sent, "not a byte is changed");
        (Outcome::Passed(era), parts.headers)
    }
}

fn refused(
    response: Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>,
) -> Outcome {
    let (parts, body) = response.into_parts();
    let body = assert_ready!(spawn(body.collect()).poll()).expect("fixed");
    let body = body.to_bytes();
    let refused = parts.extensions.get::<Refused>().expect("why");
    let answer = (!body.is_empty()).then(|| {
        assert_eq!(parts.headers["content-type"], "application/json");
        serde_json::from_slice(&body).expect("JSON")
    });
    let allow = parts.headers.get("allow");
    Outcome::Refused {
        status: parts.status.as_u16(),
        code: refused.code(),
        answer,
        allow: allow.map(|allow| allow.to_str().expect("text").to_owned()),
    }
}

/// What a refused client has to do with its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum To<'a> {
    /// The error has the id of this JSON text.
    Id(&'a str),
    /// It has none, and not null either.
    Unknown,
    /// There is no body.
    Nobody,
    /// An array of errors with these ids.
    Batch(&'a [&'a str]),
}

impl Outcome {
    #[track_caller]
    pub(crate) fn assert_passed(&self, era: Era) {
        assert_eq!(*self, Self::Passed(era));
    }

    /// Checks a refusal, and gives the `data` of its error.
    #[track_caller]
    pub(crate) fn assert_refused(&self, (status, code): (u16, i32), to: To<'_>) -> Value {
        let Self::Refused {
            status: was,
            code: why,
            answer,
            ..
        } = self
        else {
            panic!("passed, not {status} {code}");
        };
        assert_eq!((*was, *why), (status, code), "{answer:?}");
        let Some(answer) = answer else {
            assert_eq!(to, To::Nobody);
            return Value::Null;
        };
        let error = |answer: &Value, id: Option<&str>| {
            assert_eq!(answer["jsonrpc"], "2.0");
            assert_eq!(answer["error"]["code"], code);
            assert_ne!(answer["error"]["message"], "");
            let id = id.map(|id| serde_json::from_str::<Value>(id).expect("an id"));
            assert_eq!(answer.get("id"), id.as_ref(), "{answer}");
            answer["error"]["data"].clone()
        };
        match to {
            To::Id(id) => error(answer, Some(id)),
            To::Unknown => error(answer, None),
            To::Nobody => panic!("answered {answer}"),
            To::Batch(ids) => {
                let answers = answer.as_array().expect("an array");
                assert_eq!(answers.len(), ids.len());
                for (answer, id) in answers.iter().zip(ids) {
                    error(answer, Some(id));
                }
                Value::Null
            }
        }
    }
}
