use std::{error::Error, fmt, future::Future, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Denial, Direction, Message,
    message::beginning,
    pause::{Decided, Held},
    state::{InterceptStats, State},
};
use crate::jsonrpc::Kind;

/// Looks at what an [`InterceptLayer`](super::InterceptLayer) counts, and at what it holds.
///
/// It has no type parameter, so that those of several layers fit one list.
#[derive(Clone)]
pub struct InterceptHandle {
    state: Arc<State>,
}

impl InterceptHandle {
    pub(super) const fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Counts what was, and what is held now.
    #[must_use]
    pub fn stats(&self) -> InterceptStats {
        self.state.stats()
    }

    /// Decides about the messages that are held.
    #[must_use]
    pub fn pauses(&self) -> PauseHandle {
        PauseHandle {
            state: Arc::clone(&self.state),
        }
    }
}

/// Decides about the messages that are held, see [`Verdict::Pause`](super::Verdict::Pause).
///
/// Each is decided about once. What is released or replaced goes on to the interceptors after the one that
/// held it.
#[derive(Clone)]
pub struct PauseHandle {
    state: Arc<State>,
}

/// The number of a held message: of this process and this layer, and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PauseId(u64);

/// A message that is held.
#[derive(Clone)]
pub struct HeldMessage {
    id: PauseId,
    direction: Direction,
    message: Message,
    age: Duration,
    left: Duration,
}

/// Nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PauseError {
    /// The message is not held any more: its client is gone, its deadline has passed, or somebody else has
    /// decided.
    NotHeld,
    /// The new text is not a message of the same kind, method, id and revision.
    InvalidMessage,
    /// The new text is longer than a message [may be](super::InterceptLayer::with_max_message_bytes).
    MessageTooLarge,
}

impl PauseHandle {
    /// What is held, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<HeldMessage> {
        self.state.pauses.look(HeldMessage::new)
    }

    /// Waits until what is held is not what it was when this was called: a message has come, or one is not
    /// held any more.
    ///
    /// Who calls it before a look at the [`list`](Self::list) and waits after it misses nothing. Dropped, it
    /// has no effect. Outside of a tokio runtime, a deadline that passes does not end it.
    ///
    /// ```
    /// # async fn first(pauses: shadowcat::intercept::PauseHandle) -> shadowcat::intercept::HeldMessage {
    /// loop {
    ///     let changed = pauses.changed();
    ///     if let Some(held) = pauses.list().into_iter().next() {
    ///         return held;
    ///     }
    ///     changed.await;
    /// }
    /// # }
    /// ```
    pub fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.state.pauses.changed()
    }

    /// Lets a message go on as it is.
    ///
    /// # Errors
    ///
    /// If it is not held.
    pub fn release(&self, id: PauseId) -> Result<(), PauseError> {
        self.decide(id, Decided::Release)
    }

    /// Lets this text go on in a message's place.
    ///
    /// # Errors
    ///
    /// If it is not held; or if the text may not take its place, and then it still is.
    pub fn replace(&self, id: PauseId, text: impl Into<Bytes>) -> Result<(), PauseError> {
        let held = self.state.pauses.message(id.0);
        let (held, max) = held.ok_or(PauseError::NotHeld)?;
        let text = text.into();
        if text.len() > max {
            return Err(PauseError::MessageTooLarge);
        }
        let new = Message::read(text).filter(|new| held.may_become(new));
        self.decide(id, Decided::Replace(new.ok_or(PauseError::InvalidMessage)?))
    }

    /// Refuses a message.
    ///
    /// # Errors
    ///
    /// If it is not held.
    pub fn refuse(&self, id: PauseId, denial: impl Into<Denial>) -> Result<(), PauseError> {
        self.decide(id, Decided::Refuse(denial.into()))
    }

    fn decide(&self, id: PauseId, decided: Decided) -> Result<(), PauseError> {
        let what = decided.name();
        if self.state.pauses.decide(id.0, decided) {
            // Somebody has stepped in, and that should be told by more than what comes of it.
            tracing::info!(%id, what, "a held message is decided about");
            Ok(())
        } else {
            Err(PauseError::NotHeld)
        }
    }
}

impl HeldMessage {
    /// The most of a message that [`preview`](Self::preview) shows, in bytes.
    pub const MAX_PREVIEW_BYTES: usize = 512;

    fn new(number: u64, held: &Held, now: Instant) -> Self {
        let age = now.duration_since(held.since);
        Self {
            id: PauseId(number),
            direction: held.cx.direction(),
            message: held.message.clone(),
            age,
            left: held.deadline.saturating_sub(age),
        }
    }

    /// What to call it by.
    #[must_use]
    pub const fn id(&self) -> PauseId {
        self.id
    }

    /// Where it goes.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// What kind of message it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.message.kind()
    }

    /// Its method; `None` for responses.
    #[must_use]
    pub fn method(&self) -> Option<String> {
        let method = self.message.envelope().method()?;
        Some(method.into_owned())
    }

    /// How long it has been held.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// How much longer it is held.
    #[must_use]
    pub const fn left(&self) -> Duration {
        self.left
    }

    /// The message as it is held: as the interceptors before have left it.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// How the message begins, up to [512 bytes](Self::MAX_PREVIEW_BYTES).
    #[must_use]
    pub fn preview(&self) -> &str {
        beginning(self.message.as_str(), Self::MAX_PREVIEW_BYTES)
    }
}

impl fmt::Display for PauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for PauseId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for PauseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "the message is not held any more",
            Self::InvalidMessage => {
                "the text is not a message of the same kind, method, id and revision"
            }
            Self::MessageTooLarge => "the text is longer than a message may be",
        })
    }
}

impl Error for PauseError {}

impl fmt::Debug for InterceptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptHandle")
            .field("stats", &self.stats())
            .finish()
    }
}

impl fmt::Debug for PauseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseHandle")
            .field("held", &self.state.pauses.count())
            .finish()
    }
}

/// Shows what the message is, not what it says.
impl fmt::Debug for HeldMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldMessage")
            .field("id", &self.id)
            .field("direction", &self.direction)
            .field("message", &self.message)
            .field("age", &self.age)
            .field("left", &self.left)
            .finish()
    }
}
