use std::{borrow::Cow, fmt, sync::Arc};

use super::{
    Context, Decision, Denial, Direction, Interceptor, Interest, Message, Unneeded, Verdict,
};
use crate::{
    jsonrpc::{Envelope, ErrorObject, Kind, code},
    pattern::Pattern,
    protocol::Era,
};

/// Lets clients call some tools, and shows them no others (ICP-8).
///
/// A call of another tool gets an error of code −31403, whether there is such a tool or not, and a
/// `tools/list` is answered without it. Names may end with a star, which stands for whatever follows. Where
/// nothing is allowed, servers do not say that they have tools. A call without an id is refused whatever it
/// calls: nobody waits for its result, and a server may run it nevertheless.
///
/// See the [module docs](crate::intercept).
#[derive(Clone)]
#[must_use]
pub struct ToolFilter {
    rule: Rule,
    /// There is no tool that is allowed.
    hides_all: bool,
    interest: Interest,
    denial: Denial,
}

#[derive(Clone)]
enum Rule {
    Allow(Arc<[Pattern]>),
    Deny(Arc<[Pattern]>),
    By(Arc<Allows>),
}

/// Whether a tool may be called, in that context.
type Allows = dyn Fn(&Context, &str) -> bool + Send + Sync;

impl ToolFilter {
    /// Only these.
    pub fn allow<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::new(Rule::Allow(patterns(names)))
    }

    /// All but these.
    pub fn deny<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::new(Rule::Deny(patterns(names)))
    }

    /// Those for which `allows` is true, such as with a look at who calls. Lists are then for one client
    /// only, and say so.
    pub fn by(allows: impl Fn(&Context, &str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Rule::By(Arc::new(allows)))
    }

    /// Refuses calls with this instead.
    pub fn with_denial(mut self, denial: impl Into<Denial>) -> Self {
        self.denial = denial.into();
        self
    }

    fn new(rule: Rule) -> Self {
        let mut interest = Interest::exchanges("tools/list")
            .or(&Interest::requests("tools/call"))
            .add(Direction::ToServer, Kind::Notification, "tools/call");
        let hides_all = match &rule {
            Rule::Allow(names) => names.is_empty(),
            Rule::Deny(names) => names.iter().any(Pattern::is_any),
            Rule::By(_) => false,
        };
        if hides_all {
            interest = interest
                .or(&Interest::responses("initialize"))
                .or(&Interest::responses("server/discover"));
        }
        Self {
            rule,
            hides_all,
            interest,
            denial: ErrorObject::new(code::FORBIDDEN, "the tool is not allowed").into(),
        }
    }

    fn allows(&self, cx: &Context, name: &str) -> bool {
        let is_in = |names: &[Pattern]| names.iter().any(|one| one.matches(name.as_bytes()));
        match &self.rule {
            Rule::Allow(names) => is_in(names),
            Rule::Deny(names) => !is_in(names),
            Rule::By(allows) => allows(cx, name),
        }
    }

    fn judge_call(&self, cx: &Context, call: &Envelope<'_>) -> Verdict {
        // A call that does not say what it calls may be of any.
        match call.name() {
            Some(name) if self.allows(cx, &name) => Verdict::Continue,
            _ => Verdict::Refuse(self.denial.clone()),
        }
    }

    /// What clients are shown of a list, or of what a server can do.
    fn judge_result(&self, cx: &Context, message: &Message) -> Result<Verdict, super::EditError> {
        let mut edit = message.edit();
        if self.hides_all {
            edit.remove("/result/capabilities/tools")?;
        }
        let is_shown = |tool: &str| {
            let tool = ToolName::of(tool);
            tool.is_some_and(|name| self.allows(cx, &name.0))
        };
        edit.retain("/result/tools/*", is_shown)?;
        let is_list = message.get("/result/tools").is_some();
        let is_personal = matches!(self.rule, Rule::By(_)) || edit.is_changed();
        if is_list && is_personal && cx.era() == Some(Era::Stateless) {
            // Others may see another list (CCH-1, ICP-8).
            edit.set("/result/cacheScope", r#""private""#)?;
        }
        Ok(edit.into())
    }
}

/// The name that an element of a list has.
struct ToolName(String);

impl ToolName {
    /// Of an element with two names, or with none, nobody knows what it is.
    fn of(tool: &str) -> Option<Self> {
        let names = crate::jsonrpc::Pointer::parse("/name")?.find(tool.as_bytes());
        let [name] = &names[..] else { return None };
        let name = Envelope::bytes(&tool.as_bytes()[name.clone()])?;
        String::from_utf8(name.into_owned()).ok().map(Self)
    }
}

fn patterns<I>(names: I) -> Arc<[Pattern]>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let names = names.into_iter();
    names.map(|name| Pattern::new(name.as_ref())).collect()
}

impl Interceptor for ToolFilter {
    type Future = Unneeded;

    fn interest(&self) -> Cow<'_, Interest> {
        Cow::Borrowed(&self.interest)
    }

    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Unneeded> {
        let envelope = message.envelope();
        match (cx.direction(), message.kind()) {
            (Direction::ToServer, Kind::Request)
                if envelope.method().as_deref() == Some("tools/call") =>
            {
                self.judge_call(cx, &envelope).into()
            }
            (Direction::ToServer, Kind::Notification)
                if envelope.method().as_deref() == Some("tools/call") =>
            {
                Verdict::Refuse(self.denial.clone()).into()
            }
            (Direction::ToClient, Kind::Response) => {
                let judged = self.judge_result(cx, message);
                judged.map_err(Into::into).into()
            }
            _ => Verdict::Continue.into(),
        }
    }
}

impl fmt::Debug for ToolFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ToolFilter");
        match &self.rule {
            Rule::Allow(names) => f.field("allow", names),
            Rule::Deny(names) => f.field("deny", names),
            Rule::By(_) => f.field("by", &format_args!("..")),
        }
        .field("denial", &self.denial)
        .finish()
    }
}
