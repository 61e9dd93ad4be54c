use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;

use super::InterceptError;
use crate::jsonrpc::{ErrorObject, code};

/// What becomes of a message.
#[derive(Clone)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on as it is.
    Continue,
    /// This JSON text goes on in its place. It has to be a message of the same kind, method, id and revision
    /// (`_meta`), or the interceptor has failed. An [`Edit`](super::Edit) makes one.
    Replace(Bytes),
    /// It does not go on, and whoever waits for an answer is told why.
    Refuse(Denial),
    /// This JSON text is the result of the request: nobody else is asked. Of a response, it takes the
    /// place of the result. A notification is taken and goes no further.
    Respond(Bytes),
    /// It goes on after that time. What comes after it in its stream waits too.
    Delay(Duration),
    /// It is held until somebody decides, see [`PauseHandle`](super::PauseHandle).
    Pause(Pause),
}

/// A verdict, unless the interceptor has failed: its error is logged, and the client is not told.
pub type Judgement = Result<Verdict, InterceptError>;

/// What whoever waits for an answer is told of a message that is refused.
#[derive(Clone, Debug)]
#[must_use]
pub struct Denial {
    error: ErrorObject,
    is_result: bool,
}

/// How long a message is held, and what becomes of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pause {
    deadline: Duration,
    releases: bool,
}

impl Verdict {
    /// Refuses with one line for whoever sent it, and code −31403.
    pub fn refuse(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refuse(ErrorObject::new(code::FORBIDDEN, message).into())
    }
}

impl Denial {
    /// Tells it with that error.
    pub const fn error(error: ErrorObject) -> Self {
        Self {
            error,
            is_result: false,
        }
    }

    /// Tells it to the model too: a `tools/call` gets a result with `isError` and this text (ICP-3). Others
    /// get an error with it, of code −31403.
    pub fn tool_result(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            error: ErrorObject::new(code::FORBIDDEN, text),
            is_result: true,
        }
    }

    /// The error that it tells, or would tell.
    pub const fn as_error(&self) -> &ErrorObject {
        &self.error
    }

    /// The result for a call, if it is to be one.
    pub(super) fn result(&self) -> Option<String> {
        self.is_result.then(|| {
            let text = serde_json::Value::from(self.error.message());
            format!(r#"{{"content":[{{"type":"text","text":{text}}}],"isError":true}}"#)
        })
    }
}

impl From<ErrorObject> for Denial {
    fn from(error: ErrorObject) -> Self {
        Self::error(error)
    }
}

impl Pause {
    /// How long a message is held by default: 5 min.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5 * 60);

    /// Holds it for up to [5 min](Self::DEFAULT_DEADLINE), and refuses it if nobody decides.
    pub const fn new() -> Self {
        Self {
            deadline: Self::DEFAULT_DEADLINE,
            releases: false,
        }
    }

    /// Holds it for that long.
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Releases it if nobody decides, as it is.
    pub const fn or_release(mut self) -> Self {
        self.releases = true;
        self
    }

    /// How long it is held.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) const fn releases(&self) -> bool {
        self.releases
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        Self::Refuse(denial)
    }
}

impl From<ErrorObject> for Verdict {
    fn from(error: ErrorObject) -> Self {
        Self::Refuse(error.into())
    }
}

impl From<Pause> for Verdict {
    fn from(pause: Pause) -> Self {
        Self::Pause(pause)
    }
}

/// Shows what it is, not what it says.
impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Replace(text) => f.debug_tuple("Replace").field(&text.len()).finish(),
            Self::Refuse(denial) => f.debug_tuple("Refuse").field(denial).finish(),
            Self::Respond(text) => f.debug_tuple("Respond").field(&text.len()).finish(),
            Self::Delay(time) => f.debug_tuple("Delay").field(time).finish(),
            Self::Pause(pause) => f.debug_tuple("Pause").field(pause).finish(),
        }
    }
}
