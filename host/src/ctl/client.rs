//! Requests to the daemon: HTTP over its UNIX socket, one connection for each.
//!
//! Everything blocks; a request that takes longer than the timeout or is interrupted (Ctrl-C) ends with an error. What
//! comes back is checked: status, size, shape.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::api::error::ErrorAnswer;
use crate::api::monitor::Event;
use crate::api::routes::{Route, RouteId, ROUTES};

use super::error::CtlError;
use super::output::More;

/// Longest answer that is read, bytes: a page of the largest entries is well below.
const MAX_ANSWER: usize = 256 << 20;
/// Longest line of a stream, bytes.
const MAX_EVENT: usize = 1 << 20;

/// The daemon at a socket.
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
    runtime: Runtime,
}

/// The route of this name.
pub fn route(id: RouteId) -> &'static Route {
    // Every id has its route: one macro makes both.
    ROUTES.iter().find(|route| route.id == id).unwrap_or(&ROUTES[0])
}

/// A request before it is sent.
pub struct Call<'a> {
    route: RouteId,
    parts: Vec<&'a str>,
    query: Vec<String>,
    body: Option<Result<Vec<u8>, String>>,
}

impl<'a> Call<'a> {
    /// A request of this route.
    pub fn new(route: RouteId) -> Self {
        Self {
            route,
            parts: Vec::new(),
            query: Vec::new(),
            body: None,
        }
    }

    /// Fills the next `{...}` of the path.
    pub fn part(mut self, value: &'a str) -> Self {
        self.parts.push(value);
        self
    }

    /// Adds query parameters.
    pub fn query(mut self, query: &impl Serialize) -> Self {
        match serde_urlencoded::to_string(query) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => self.query.push(text),
            Err(error) => self.body = Some(Err(error.to_string())),
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).map_err(|error| error.to_string()));
        self
    }

    /// Path and query.
    fn target(&self) -> String {
        let mut out = String::new();
        let mut parts = self.parts.iter();
        for (i, part) in route(self.route).path.split('/').enumerate() {
            if i > 0 {
                out.push('/');
            }
            match part.starts_with('{').then(|| parts.next()).flatten() {
                Some(value) => {
                    for byte in value.bytes() {
                        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                            out.push(char::from(byte));
                        } else {
                            out.push_str(&format!("%{byte:02X}"));
                        }
                    }
                }
                None => out.push_str(part),
            }
        }
        if !self.query.is_empty() {
            out.push('?');
            out.push_str(&self.query.join("&"));
        }
        out
    }
}

impl Client {
    /// A client of the daemon at `socket`; nothing is sent yet.
    ///
    /// # Errors
    /// The system gives no event loop.
    pub fn new(socket: &Path, timeout: Duration) -> Result<Self, CtlError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CtlError::Output)?;
        Ok(Self {
            socket: socket.to_path_buf(),
            timeout,
            runtime,
        })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// No daemon, not allowed, refused, no answer in time, an answer of another shape.
    pub fn call<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, CtlError> {
        let bytes = self.bytes(call)?;
        serde_json::from_slice(&bytes).map_err(|error| CtlError::BadAnswer {
            request: name(call),
            why: error.to_string(),
        })
    }

    /// Sends a request whose answer is text.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn text(&self, call: &Call<'_>) -> Result<String, CtlError> {
        let bytes = self.bytes(call)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes(&self, call: &Call<'_>) -> Result<Bytes, CtlError> {
        let request = name(call);
        let all = async {
            let response = self.send(call, &request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let bytes = body.map(http_body_util::Collected::to_bytes).map_err(|error| {
                if error.is::<LengthLimitError>() {
                    CtlError::BadAnswer {
                        request: request.clone(),
                        why: format!("it is longer than {MAX_ANSWER} bytes"),
                    }
                } else {
                    CtlError::Broken {
                        request: request.clone(),
                        why: error.to_string(),
                    }
                }
            })?;
            if status.is_success() {
                Ok(bytes)
            } else {
                Err(refusal(&request, status.as_u16(), &bytes))
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                done = tokio::time::timeout(self.timeout, all) => done.unwrap_or_else(|_| Err(CtlError::Timeout {
                    request: request.clone(),
                    seconds: self.timeout.as_secs(),
                })),
                _ = tokio::signal::ctrl_c() => Err(CtlError::Interrupted),
            }
        })
    }

    /// Sends a request whose answer is a stream, and hands over each event. Ends when `each` has enough, the stream ends or
    /// Ctrl-C is pressed.
    ///
    /// # Errors
    /// As [`Client::call`], and those of `each`.
    pub fn stream(
        &self,
        call: &Call<'_>,
        each: &mut dyn FnMut(Event) -> Result<More, CtlError>,
    ) -> Result<(), CtlError> {
        let request = name(call);
        let all = async {
            let response = tokio::time::timeout(self.timeout, self.send(call, &request))
                .await
                .unwrap_or_else(|_| {
                    Err(CtlError::Timeout {
                        request: request.clone(),
                        seconds: self.timeout.as_secs(),
                    })
                })?;
            let status = response.status();
            let mut body = response.into_body();
            let mut held = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| CtlError::Broken {
                    request: request.clone(),
                    why: error.to_string(),
                })?;
                held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
                if !status.is_success() {
                    continue;
                }
                let mut start = 0;
                while let Some(end) = held[start..].iter().position(|byte| *byte == b'\n') {
                    let line = &held[start..start + end];
                    start += end + 1;
                    if line.is_empty() {
                        continue;
                    }
                    let event = serde_json::from_slice(line).map_err(|error| CtlError::BadAnswer {
                        request: request.clone(),
                        why: error.to_string(),
                    })?;
                    if each(event)?.is_enough() {
                        return Ok(());
                    }
                }
                held.drain(..start);
                if held.len() > MAX_EVENT {
                    return Err(CtlError::BadAnswer {
                        request: request.clone(),
                        why: format!("an event is longer than {MAX_EVENT} bytes"),
                    });
                }
            }
            if status.is_success() {
                Ok(())
            } else {
                Err(refusal(&request, status.as_u16(), &held))
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                done = all => done,
                // Ctrl-C is how a stream is ended: no error.
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        })
    }

    async fn send(&self, call: &Call<'_>, request: &str) -> Result<Response<Incoming>, CtlError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|why| match why.kind() {
                ErrorKind::PermissionDenied => CtlError::NotAllowed {
                    socket: self.socket.clone(),
                },
                _ => CtlError::NoDaemon {
                    socket: self.socket.clone(),
                    why,
                },
            })?;
        let broken = |why: String| CtlError::Broken {
            request: request.to_string(),
            why,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        // It ends by itself when the answer was read or the sender is dropped.
        tokio::spawn(connection);
        let body = match &call.body {
            None => Vec::new(),
            Some(Ok(bytes)) => bytes.clone(),
            Some(Err(why)) => return Err(CtlError::Usage(why.clone())),
        };
        let message = Request::builder()
            .method(route(call.route).method.name())
            .uri(call.target())
            .header("host", "nat64d")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| CtlError::Usage(error.to_string()))?;
        sender
            .send_request(message)
            .await
            .map_err(|error| broken(error.to_string()))
    }
}

/// Method and path, for messages.
fn name(call: &Call<'_>) -> String {
    let route = route(call.route);
    format!("{} {}", route.method.name(), route.path)
}

/// The error an answer stands for.
fn refusal(request: &str, status: u16, bytes: &[u8]) -> CtlError {
    match serde_json::from_slice::<ErrorAnswer>(bytes) {
        Ok(answer) => answer.error.into(),
        Err(_) => {
            let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
            CtlError::BadAnswer {
                request: request.into(),
                why: format!("status {status}, {text:?}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::sessions::SessionFilter;
    use crate::api::PageQuery;

    #[test]
    fn targets_are_made_of_route_parts_and_queries() {
        let call = Call::new(RouteId::Registers).part("card 0/ä");
        assert_eq!(call.target(), "/v1/cards/card%200%2F%C3%A4/registers");
        let filter = SessionFilter {
            source_prefix: Some("2001:db8::/96".into()),
            offload: Some(true),
            ..SessionFilter::default()
        };
        let call = Call::new(RouteId::Sessions).query(&filter).query(&PageQuery {
            cursor: None,
            limit: Some(7),
        });
        assert_eq!(
            call.target(),
            "/v1/sessions?source-prefix=2001%3Adb8%3A%3A%2F96&offload=true&limit=7"
        );
        assert_eq!(
            Call::new(RouteId::Cards).query(&PageQuery::default()).target(),
            "/v1/cards"
        );
    }

    #[test]
    fn every_route_is_found_by_its_name() {
        for known in ROUTES {
            assert_eq!(route(known.id), known);
        }
    }

    #[test]
    fn no_daemon_says_where_it_was_looked_for() {
        let client = Client::new(Path::new("/nonexistent/nat64d.sock"), Duration::from_secs(1)).unwrap();
        let error = client.text(&Call::new(RouteId::System)).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_text(false).contains("/nonexistent/nat64d.sock"), "{error}");
        assert!(error.to_text(false).contains("systemctl start nat64d"));
    }
}
