//! Threads for calls that block.

use std::thread::Builder;

use mobillm_core::transport::TransportError;

/// Starts a thread that nobody waits for.
fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), TransportError> {
    let started = Builder::new().name(name.to_owned()).spawn(work).map(drop);
    started.map_err(|error| TransportError::System(error.into()))
}

/// Does `work` on a thread of its own, and gives back all that it held before it says what came of it.
///
/// # Errors
/// If the system starts no thread.
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<flume::Receiver<T>, TransportError> {
    let (done, receiver) = flume::bounded(1);
    start(name, move || {
        let result = work();
        // Nobody may wait for it any more.
        let _ = done.send(result);
    })?;
    Ok(receiver)
}

/// A thread that answers one question after the other, until nobody can ask any more.
pub(crate) struct Worker<Q, A> {
    questions: flume::Sender<Q>,
    answers: flume::Receiver<A>,
    /// Whether an answer is still to come.
    asked: bool,
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// Starts it.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(crate) fn new(
        name: &str,
        mut answer: impl FnMut(Q) -> A + Send + 'static,
    ) -> Result<Self, TransportError> {
        let (questions, received) = flume::bounded::<Q>(1);
        let (done, answers) = flume::bounded(1);
        start(name, move || {
            while let Ok(question) = received.recv() {
                // With nobody to hear the answer the question is void.
                if done.is_disconnected() || done.send(answer(question)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers, asked: false })
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Asks; only if nothing is asked.
    pub(crate) fn ask(&mut self, question: Q) {
        // There is room, and a thread that has ended is noticed at the answer.
        self.asked = self.questions.try_send(question).is_ok();
    }

    /// The answer to what was asked. Whoever stops to wait for it can come back.
    ///
    /// # Errors
    /// If the thread has ended.
    pub(crate) async fn answer(&mut self) -> Result<A, TransportError> {
        let answer = self.answers.recv_async().await;
        self.asked = false;
        answer.map_err(|_| TransportError::Closed)
    }
}
