use std::borrow::Cow;

use super::{
    Context, Decision, Interceptor, Interest, Message, Options, Unneeded, Verdict,
    message::beginning,
};

/// Logs who has sent what, as `tracing` events with the target `shadowcat::audit` and level `INFO`.
///
/// | field | what it says |
/// |---|---|
/// | `direction` | `ToServer` or `ToClient` |
/// | `kind` | `Request`, `Notification` or `Response` |
/// | `id` | the id as JSON text, if there is one |
/// | `method` | the method, or that of the request that a response answers |
/// | `name` | the tool, prompt, resource or task, likewise |
/// | `is_error` | whether it is a response with an error |
/// | `subject`, `issuer` | the principal, if a layer outside has verified one |
/// | `len` | bytes of JSON text |
///
/// Not what else messages say: arguments and results are somebody's data. Ids, methods and names are those
/// of the client: each is cut after [256 bytes](Self::MAX_FIELD_BYTES), and shown with escapes.
///
/// It never changes anything, and if it fails, messages pass. First of a chain, it sees what clients have
/// sent and what they get; last of it, what the server gets and has sent.
#[derive(Clone, Debug)]
#[must_use]
pub struct AuditLog {
    interest: Interest,
}

impl AuditLog {
    /// The most of an id, a method or a name that is logged, in bytes.
    pub const MAX_FIELD_BYTES: usize = 256;

    /// Logs what is in `interest`.
    pub const fn new(interest: Interest) -> Self {
        Self { interest }
    }
}

impl Interceptor for AuditLog {
    type Future = Unneeded;

    fn interest(&self) -> Cow<'_, Interest> {
        Cow::Borrowed(&self.interest)
    }

    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Unneeded> {
        let envelope = message.envelope();
        let about = cx.request().unwrap_or(message).envelope();
        let (method, name) = (about.method(), about.name());
        let short = |text| beginning(text, Self::MAX_FIELD_BYTES);
        #[cfg(feature = "auth")]
        let (subject, issuer) = {
            let principal = cx.principal();
            let issuer = principal.and_then(|who| who.issuer());
            (principal.map(|who| who.subject()), issuer)
        };
        #[cfg(not(feature = "auth"))]
        let (subject, issuer) = (None::<&str>, None::<&str>);
        tracing::info!(
            target: "shadowcat::audit",
            direction = ?cx.direction(),
            kind = ?message.kind(),
            id = envelope.id_raw().map(short),
            method = method.as_deref().map(short),
            name = name.as_deref().map(short),
            is_error = message.get("/error").is_some(),
            subject,
            issuer,
            len = message.as_str().len(),
            "a message"
        );
        Verdict::Continue.into()
    }

    fn options(&self) -> Options {
        Options::DEFAULT.with_pass_on_failure(true)
    }
}
