use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
    },
};
use serde_json::{Map, Value};
use tower_service::Service;

use super::{ConfigError, ConfigErrorKind, Scopes, url};
use crate::body::{NoBody, ResponseBody};

/// Tells clients who gives out tokens for a resource (RFC 9728, AUT-3).
///
/// A leaf service: it answers GET and HEAD, and what a browser asks before, with the same document
/// whatever the path is. Mount it at its two [`paths`](Self::paths), outside of auth and
/// of [`OriginLayer`](crate::origin::OriginLayer): the document is public, and open to any page (AUT-3).
///
/// It is made from configuration only, never from a request, because who could have a client name
/// another authorization server would get its tokens (AUT-11). A clone costs a reference count.
#[derive(Clone)]
pub struct MetadataService {
    document: Arc<Document>,
}

struct Document {
    json: Bytes,
    resource: Box<str>,
    url: Box<str>,
    path: Box<str>,
}

/// The methods that are answered.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

impl MetadataService {
    /// Where metadata are that have no path of their own (RFC 9728 §3).
    pub const ROOT: &'static str = "/.well-known/oauth-protected-resource";

    /// Starts with the resource: the URL of the MCP endpoint as its clients know it, which is also
    /// what the audience of their tokens is.
    pub fn builder(resource: impl Into<String>) -> MetadataBuilder {
        MetadataBuilder {
            resource: resource.into(),
            authorization_servers: Vec::new(),
            scopes: Scopes::default(),
            name: None,
            documentation: None,
            allows_loopback: false,
            needs_server: true,
        }
    }

    /// The resource, as clients are told it: in lower case as far as case does not count, and without a
    /// path that is only `/` (AUT-11). It is what they ask tokens for, so it has to be an audience that
    /// is accepted.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.document.resource
    }

    /// Where clients find the document: the resource's URL, with the well-known part between host and
    /// path (AUT-4).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.document.url
    }

    /// The paths to serve it at: the one of its [`url`](Self::url), and the one without the resource's
    /// path, which clients try last. They are the same for a resource without a path.
    #[must_use]
    pub fn paths(&self) -> [&str; 2] {
        [&self.document.path, Self::ROOT]
    }

    /// The answer to `request`, for a router that need not ask a service.
    #[must_use]
    pub fn respond<B, ResBody>(&self, request: &Request<B>) -> Response<ResponseBody<ResBody>> {
        let mut response = Response::new(ResponseBody::default());
        let headers = response.headers_mut();
        let any = HeaderValue::from_static("*");
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
        match *request.method() {
            Method::GET | Method::HEAD => {
                let json = &self.document.json;
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
                if request.method() == Method::GET {
                    *response.body_mut() = ResponseBody::fixed(json.clone());
                }
            }
            Method::OPTIONS => {
                // MCP clients in a browser send their protocol version along, which takes a preflight.
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, any);
                headers.insert(ALLOW, METHODS);
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            _ => {
                headers.insert(ALLOW, METHODS);
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
        }
        response
    }
}

impl<ReqBody> Service<Request<ReqBody>> for MetadataService {
    type Response = Response<ResponseBody<NoBody>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

impl fmt::Debug for MetadataService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataService")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// Puts the document of a [`MetadataService`] together.
#[derive(Clone, Debug)]
#[must_use]
pub struct MetadataBuilder {
    resource: String,
    authorization_servers: Vec<String>,
    scopes: Scopes,
    name: Option<String>,
    documentation: Option<String>,
    allows_loopback: bool,
    needs_server: bool,
}

impl MetadataBuilder {
    /// Also names an authorization server whose tokens are taken: its issuer, letter by letter.
    pub fn add_authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// Says which scopes a client may ask for: the fewest that are of use (AUT-9).
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Says what people call the resource.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says where people read about it.
    pub fn with_documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation = Some(url.into());
        self
    }

    /// Takes `http` URLs of this machine too, for development (AUT-13).
    pub fn allow_loopback(mut self) -> Self {
        self.allows_loopback = true;
        self
    }

    /// Names no authorization server, which RFC 9728 allows and MCP does not (AUT-3): for tokens that
    /// none gives out, such as [`StaticTokens`](super::StaticTokens).
    pub fn allow_no_authorization_server(mut self) -> Self {
        self.needs_server = false;
        self
    }

    /// The service.
    ///
    /// # Errors
    ///
    /// If something in it is not what clients may be told; [`ConfigErrorKind`] says what.
    pub fn build(self) -> Result<MetadataService, ConfigError> {
        let Self {
            resource,
            authorization_servers,
            scopes,
            name,
            documentation,
            allows_loopback,
            needs_server,
        } = self;
        let refused = |kind| Err(ConfigError::new(kind));
        let resource = match url::check(&resource, allows_loopback) {
            Some(resource) if !resource.has_query => resource,
            _ => return refused(ConfigErrorKind::Resource),
        };
        if needs_server && authorization_servers.is_empty() {
            return refused(ConfigErrorKind::NoAuthorizationServer);
        }
        let is_issuer = |issuer: &String| {
            url::check(issuer, allows_loopback).is_some_and(|issuer| !issuer.has_query)
        };
        if !authorization_servers.iter().all(is_issuer) {
            return refused(ConfigErrorKind::AuthorizationServer);
        }
        if documentation
            .as_ref()
            .is_some_and(|url| url::check(url, allows_loopback).is_none())
        {
            return refused(ConfigErrorKind::Documentation);
        }

        let url::Checked { origin, path, .. } = resource;
        let resource = format!("{origin}{path}");
        let mut json = Map::new();
        json.insert("resource".into(), resource.as_str().into());
        // RFC 9728 §2: what is empty is left out.
        if !authorization_servers.is_empty() {
            json.insert("authorization_servers".into(), authorization_servers.into());
        }
        if !scopes.is_empty() {
            let scopes: Vec<_> = scopes.iter().collect();
            json.insert("scopes_supported".into(), scopes.into());
        }
        json.insert("bearer_methods_supported".into(), vec!["header"].into());
        if let Some(name) = name {
            json.insert("resource_name".into(), name.into());
        }
        if let Some(url) = documentation {
            json.insert("resource_documentation".into(), url.into());
        }
        let path = format!("{}{path}", MetadataService::ROOT);
        Ok(MetadataService {
            document: Arc::new(Document {
                json: Value::Object(json).to_string().into(),
                resource: resource.into(),
                url: format!("{origin}{path}").into(),
                path: path.into(),
            }),
        })
    }
}
