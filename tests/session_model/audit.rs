//! What holds after every step, and at the end.

use std::sync::atomic::Ordering::Relaxed;

use http_body::Body;

use super::{
    super::session_support::{By, CALL, post, settle},
    IDLE, MAX, World,
};

impl World {
    pub(super) fn check(&self) {
        for known in &self.sessions {
            let is_ended = known.fact.is_ended();
            assert!(known.is_over || !is_ended, "SE-6");
            assert_eq!(known.told.load(Relaxed), usize::from(is_ended), "once");
        }
        // What has expired may not have been swept.
        let (live, held) = (self.live().count(), self.memory.stats().sessions);
        assert!(live <= held && held <= MAX, "SE-4: {live}, {held}");
        for stream in &self.streams {
            let client = stream.client.as_ref().expect("it is open");
            assert!(!client.body().is_end_stream());
        }
    }

    /// Everybody goes, and nothing is left.
    pub(super) async fn finish(&mut self) {
        self.store.faults().slow_down(0);
        self.server.script(|_| None);
        self.streams.clear();
        tokio::time::sleep(IDLE + IDLE / 4).await;
        settle().await;
        assert_eq!(self.memory.stats().sessions, 0, "OB-1");
        for known in &self.sessions {
            assert!(known.fact.is_ended(), "OB-1");
        }
        if self.gives_sessions {
            let person = self.people[0].clone();
            let had = self.server.send(post("", CALL).by(Some(&person))).await;
            assert_eq!(had.status, 400, "SES-3");
        }
    }
}
