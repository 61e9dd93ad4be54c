use std::sync::Arc;

use tower_layer::Layer;

use super::{
    CheckScopes,
    policy::{Policy, Rule, Satisfies},
};
use crate::{
    auth::{ConfigError, MetadataService, Scopes, url},
    pattern::Pattern,
};

/// Lets in what the principal's scopes allow (AUT-7): by method, tool, prompt and resource.
///
/// See the [module docs](crate::auth). A request needs the scopes of *every* rule that concerns it,
/// and a batch those of each message in it. Without a [`Principal`](crate::auth::Principal) it is
/// answered with 500. Names are compared byte by byte; one that ends in `*` is what names begin with.
/// A clone costs a reference count.
///
/// The body of every method but GET, HEAD, DELETE and OPTIONS has to be a message: a server may take one
/// in a PUT too. A GET needs the [base](Self::with_base) and no more, also one that resumes a stream: it
/// brings the rest of what was asked for when more was allowed (B28). Who must not see that any longer
/// has to lose the base, or the token.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ScopeLayer {
    policy: Arc<Policy>,
}

impl ScopeLayer {
    /// Nothing needs a scope, yet; but there has to be a principal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every request needs `scopes`, also GET and DELETE.
    pub fn with_base(self, scopes: Scopes) -> Self {
        self.change(|policy| policy.base = scopes)
    }

    /// Messages of `method` also need `scopes`, such as `tools/call` or `tasks/*`.
    pub fn add_method(self, method: &str, scopes: Scopes) -> Self {
        self.add_rule(method, None, scopes)
    }

    /// Calls of `tool` also need `scopes`.
    ///
    /// A call whose tool cannot be read might be of it, and needs them too. So it is for prompts and
    /// resources.
    pub fn add_tool(self, tool: &str, scopes: Scopes) -> Self {
        self.add_rule("tools/call", Some(tool), scopes)
    }

    /// To get `prompt` also needs `scopes`.
    pub fn add_prompt(self, prompt: &str, scopes: Scopes) -> Self {
        self.add_rule("prompts/get", Some(prompt), scopes)
    }

    /// To read a resource of that URI, and to subscribe to it, also needs `scopes`.
    ///
    /// The URI is compared as it is written. Where a server takes several for one resource, such as
    /// those with `..` in them, say what the [method](Self::add_method) needs. So it is for
    /// `subscriptions/listen`, which names its resources elsewhere.
    pub fn add_resource(self, uri: &str, scopes: Scopes) -> Self {
        self.add_rule("resources/read", Some(uri), scopes.clone())
            .add_rule("resources/subscribe", Some(uri), scopes.clone())
            .add_rule("resources/unsubscribe", Some(uri), scopes)
    }

    fn add_rule(self, method: &str, subject: Option<&str>, scopes: Scopes) -> Self {
        let rule = Rule {
            method: Pattern::new(method),
            subject: subject.map(Pattern::new),
            scopes,
        };
        self.change(|policy| policy.rules.push(rule))
    }

    /// Goes by `satisfies(granted, required)` where some scopes include others (AUT-8), in place of
    /// equality. It must be true for equal ones. It is called for each pair until one is enough.
    pub fn with_satisfies(
        self,
        satisfies: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.change(|policy| policy.satisfies = Satisfies(Some(Arc::new(satisfies))))
    }

    /// Lets in requests without a principal too, to what needs no scope; elsewhere they get 401. For
    /// the inside of an [optional](crate::auth::AuthLayer::with_optional) auth layer.
    pub fn allow_anonymous(self) -> Self {
        self.change(|policy| policy.allows_anonymous = true)
    }

    /// Sends clients to the document that `metadata` serves (AUT-6).
    pub fn with_metadata(self, metadata: &MetadataService) -> Self {
        self.change(|policy| policy.challenge.metadata_url = Some(metadata.url().into()))
    }

    /// Sends clients to a document that somebody else serves (AUT-6).
    ///
    /// # Errors
    ///
    /// If it is no absolute `https` URL, or `http` one of this machine.
    pub fn with_metadata_url(self, url: &str) -> Result<Self, ConfigError> {
        url::check_metadata(url)?;
        Ok(self.change(|policy| policy.challenge.metadata_url = Some(url.into())))
    }

    fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = CheckScopes<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CheckScopes::with_policy(inner, Arc::clone(&self.policy))
    }
}
