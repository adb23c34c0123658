//! What only a server of version 17 or later can show: `dev/test-on.sh 17` runs it, and `make soak` does.

mod notify_queue;
