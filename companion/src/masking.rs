//! The last look at every line of the log, and at what is said to a person: what is a secret by its own looks
//! is masked, whoever wrote it.

use pg_secrets_patterns::mask_known;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;
use zeroize::Zeroize;

/// A text with the keys, tokens and passwords in it overwritten.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    mask_known(&mut bytes);
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    bytes.zeroize();
    shown
}

/// Writes lines to stderr, masked. The formatter hands over each line whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskedStderr;

impl<'a> MakeWriter<'a> for MaskedStderr {
    type Writer = Masked<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Masked(io::stderr())
    }
}

/// Masks what is written through it, piece by piece.
#[derive(Debug)]
pub(crate) struct Masked<W>(W);

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut shown = text.to_vec();
        mask_known(&mut shown);
        let written = self.0.write_all(&shown);
        shown.zeroize();
        written.map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_masked_in_every_field_and_form() {
        let token = "pgs_Zq7Xk2Vb9Wm4Rt6Yp1Ls8Nd3Jf5Hg0Ca";
        let url = "postgres://app:hunter2hunter2@db/x";
        for json in [false, true] {
            let kept = Kept::default();
            let writer = kept.clone();
            let lines = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(move || Masked(writer.clone()));
            let lines: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> = if json {
                Box::new(lines.json())
            } else {
                Box::new(lines)
            };
            let subscriber = tracing_subscriber::Registry::default().with(lines);
            tracing::subscriber::with_default(subscriber, || {
                let span = tracing::info_span!("request", token);
                let _entered = span.enter();
                tracing::warn!(url, "with {token}");
            });
            let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
            assert!(
                text.contains("pgs_****") && text.contains("app:****"),
                "{text}"
            );
            assert!(
                !text.contains("Zq7Xk2") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
