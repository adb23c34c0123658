//! Postgres's protocol by hand, for what no driver sends: parameters as text, the fast path.

use crate::cluster::Cluster;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// A connection of the superuser to the database `postgres`.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
}

impl Wire {
    /// Connects, and waits until the server is ready.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn connect(cluster: &Cluster) -> io::Result<Self> {
        let stream = UnixStream::connect(cluster.sockets().join(".s.PGSQL.5432"))?;
        let mut wire = Self { stream };
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        startup.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
        wire.stream.write_all(&length_of(&startup))?;
        wire.stream.write_all(&startup)?;
        wire.answer()?;
        Ok(wire)
    }

    /// Parses, binds and executes a statement, each parameter as text; under a name where one is given.
    /// Answers everything that the server sent.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn execute(&mut self, name: &str, statement: &str, values: &[&str]) -> io::Result<Vec<u8>> {
        let mut parse = terminated(&[name, statement]);
        parse.extend_from_slice(&[0, 0]);
        self.send(b'P', &parse)?;
        self.bind(name, values)
    }

    /// Binds and executes what was parsed before.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn bind(&mut self, name: &str, values: &[&str]) -> io::Result<Vec<u8>> {
        let mut bind = terminated(&["", name]);
        bind.extend_from_slice(&[0, 0]);
        bind.extend_from_slice(&arguments(values));
        bind.extend_from_slice(&[0, 0]);
        self.send(b'B', &bind)?;
        self.send(b'E', &[0, 0, 0, 0, 0])?;
        self.send(b'S', &[])?;
        self.answer()
    }

    /// Calls a function by its oid, without a statement.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn call(&mut self, function: u32, values: &[&str]) -> io::Result<Vec<u8>> {
        let mut call = function.to_be_bytes().to_vec();
        call.extend_from_slice(&[0, 0]);
        call.extend_from_slice(&arguments(values));
        call.extend_from_slice(&[0, 0]);
        self.send(b'F', &call)?;
        self.answer()
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&[kind])?;
        self.stream.write_all(&length_of(body))?;
        self.stream.write_all(body)
    }

    /// Everything up to ReadyForQuery.
    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; usize::try_from(length).unwrap_or(4).saturating_sub(4)];
            self.stream.read_exact(&mut body)?;
            all.extend_from_slice(&body);
            if head[0] == b'Z' {
                return Ok(all);
            }
        }
    }
}

fn length_of(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).unwrap_or(4).to_be_bytes()
}

fn terminated(texts: &[&str]) -> Vec<u8> {
    texts
        .iter()
        .flat_map(|text| [text.as_bytes(), b"\0"].concat())
        .collect()
}

fn arguments(values: &[&str]) -> Vec<u8> {
    let mut written = u16::try_from(values.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    for value in values {
        written.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    written
}
