//! Requests into types, with errors in the API's shape.

use std::any::type_name;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Serialize};

use crate::api::error::ErrorAnswer;
use crate::api::{ErrorBody, ErrorCode};

/// The error half of every handler's result.
#[derive(Debug)]
pub struct Failure(pub ErrorBody);

impl<E: Into<ErrorBody>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Failure {
    /// An error without places.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorBody::new(code, message))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(status, &ErrorAnswer { error: self.0 })
    }
}

/// What a handler returns.
pub type Answer<T> = Result<Json<T>, Failure>;

/// A body in JSON.
#[derive(Debug)]
pub struct Json<T>(pub T);

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        // No type of the API can fail; a map with keys that are no strings would.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

/// A request's body. An empty one is read as `{}`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Failure::new(code, rejection.body_text())
        })?;
        let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) {
            b"{}"
        } else {
            &bytes
        };
        // A list would be read as the fields in order, and an empty one as a filter that lets everything through.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Failure::new(ErrorCode::BadRequest, "the body is no JSON object"));
        }
        let value = serde_json::from_slice(bytes);
        value
            .map(Self)
            .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("the body cannot be read: {error}")))
    }
}

/// A request's query, read into several types that have no field in common; a parameter that none of them knows is an
/// error.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// Types a query can be read into.
pub trait FromQuery: Sized {
    /// Names of the parameters.
    fn fields() -> Vec<&'static str>;
    /// Reads it; parameters of others are left out.
    ///
    /// # Errors
    /// What cannot be read.
    fn read(pairs: &[(String, String)]) -> Result<Self, String>;
}

fn read_one<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, String> {
    let known = fields_of::<T>();
    let own: Vec<(&str, &str)> = pairs
        .iter()
        .filter(|(name, _)| known.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let text = serde_urlencoded::to_string(own).map_err(|error| error.to_string())?;
    serde_urlencoded::from_str(&text).map_err(|error| error.to_string())
}

macro_rules! from_query {
    ($($t:ident),+) => {
        impl<$($t: DeserializeOwned),+> FromQuery for ($($t,)+) {
            fn fields() -> Vec<&'static str> {
                let mut all = Vec::new();
                $( all.extend(fields_of::<$t>()); )+
                all
            }
            fn read(pairs: &[(String, String)]) -> Result<Self, String> {
                Ok(($( read_one::<$t>(pairs)?, )+))
            }
        }
    };
}
from_query!(A);
from_query!(A, B);
from_query!(A, B, C);

impl<T: FromQuery, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let bad = |text: String| Failure::new(ErrorCode::BadRequest, text);
        let query = parts.uri.query().unwrap_or("");
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query).map_err(|error| bad(format!("the query cannot be read: {error}")))?;
        let fields = T::fields();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !fields.contains(&name.as_str()) {
                let known = fields.join(", ");
                return Err(bad(format!("there is no parameter `{name}`; known: {known}")));
            }
            if pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(bad(format!("the parameter `{name}` is given twice")));
            }
        }
        T::read(&pairs)
            .map(Self)
            .map_err(|error| bad(format!("the query cannot be read: {error}")))
    }
}

/// Names of a struct's fields as its `Deserialize` knows them.
fn fields_of<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    let mut fields = Vec::new();
    // Always an error: the names come out on the way.
    let _ = T::deserialize(Names(&mut fields));
    debug_assert!(!fields.is_empty(), "{} is no struct", type_name::<T>());
    fields
}

/// A deserializer that asks a struct for its fields and gives it nothing.
struct Names<'a>(&'a mut Vec<&'static str>);

impl<'de> de::Deserializer<'de> for Names<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only for names"))
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields);
        Err(de::Error::custom("only for names"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::sessions::{SessionDetail, SessionFilter};
    use crate::api::PageQuery;

    async fn read(query: &str) -> Result<(SessionFilter, SessionDetail, PageQuery), ErrorBody> {
        let request = axum::http::Request::get(format!("/?{query}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let query = Query::<(SessionFilter, SessionDetail, PageQuery)>::from_request_parts(&mut parts, &()).await;
        query.map(|query| query.0).map_err(|failure| failure.0)
    }

    #[tokio::test]
    async fn one_query_is_read_into_several_types() {
        let (filter, detail, page) = read("source-port=40000&extensive=true&limit=7&source-prefix=2001:db8::%2f96")
            .await
            .unwrap();
        assert_eq!(filter.source_port, Some(40_000));
        assert_eq!(filter.source_prefix.as_deref(), Some("2001:db8::/96"));
        assert!(detail.extensive);
        assert_eq!(page.limit, Some(7));
    }

    #[tokio::test]
    async fn unknown_doubled_and_wrong_parameters_are_refused() {
        for (query, says) in [
            ("source-prot=1", "no parameter `source-prot`"),
            ("limit=1&limit=2", "given twice"),
            ("source-port=70000", "cannot be read"),
            ("limit=-1", "cannot be read"),
            ("extensive=perhaps", "cannot be read"),
        ] {
            let error = read(query).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest);
            assert!(error.message.contains(says), "{query}: {}", error.message);
        }
    }
}
