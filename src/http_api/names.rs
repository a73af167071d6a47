//! Names in requests, which become part of a path at the API server: checked before anything is sent.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use distributary_core::ids::PolicyKey;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;

/// A DNS-1123 label of at most 63 characters.
fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends.iter().all(|byte| byte.is_some_and(|byte| is_inner(*byte)))
        && bytes.iter().all(|byte| is_inner(*byte) || *byte == b'-')
}

/// A DNS-1123 subdomain of at most 253 characters.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// The name of a namespace.
///
/// # Errors
/// It is none.
pub fn namespace(text: &str) -> Result<&str, Problem> {
    if is_label(text) {
        Ok(text)
    } else {
        Err(Problem::bad("the namespace must be a DNS-1123 label"))
    }
}

/// Namespace and name of a policy.
///
/// # Errors
/// One of them is none.
pub fn policy(of: &str, name: &str) -> Result<PolicyKey, Problem> {
    let of = namespace(of)?;
    if is_subdomain(name) {
        Ok(PolicyKey::new(of, name))
    } else {
        Err(Problem::bad(
            "the name of the policy must be a DNS-1123 subdomain",
        ))
    }
}

/// `NAMESPACE/NAME`.
///
/// # Errors
/// It is not of this form.
pub fn whole(text: &str) -> Result<PolicyKey, Problem> {
    let (namespace, name) = text
        .split_once('/')
        .ok_or_else(|| Problem::bad("policy must be NAMESPACE/NAME"))?;
    policy(namespace, name)
}

/// Where a page begins.
///
/// # Errors
/// It is not what a page gave.
pub fn after(text: &str) -> Result<PolicyKey, Problem> {
    whole(text).map_err(|_| Problem::bad("continue must be what the page before gave as continue"))
}

/// The parts of a path that name a policy.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PolicyNames {
    /// The namespace of the policy
    #[param(example = "shop")]
    namespace: String,
    /// The name of the policy
    #[param(example = "orders")]
    name: String,
}

/// The policy that the path of a request names.
pub struct PolicyPath(pub PolicyKey);

impl<S: Send + Sync> FromRequestParts<S> for PolicyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<PolicyNames>::from_request_parts(parts, state).await;
        let Path(names) = path.map_err(|_| Problem::bad("the path must be UTF-8"))?;
        policy(&names.namespace, &names.name).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_leads_to_no_path() {
        assert_eq!(
            whole("shop/orders.v2").unwrap(),
            PolicyKey::new("shop", "orders.v2")
        );
        let long = format!("shop/{}", "a".repeat(254));
        for bad in [
            "",
            "orders",
            "/",
            "shop/",
            "/orders",
            "shop/../x",
            "shop/a/b",
            "Shop/orders",
            "shop/a%2Fb",
            "shop/a?b",
            "sh.op/orders",
            "shop/-a",
            "shop/a..b",
            &long,
        ] {
            assert_eq!(whole(bad).unwrap_err().code, 400, "{bad}");
            let problem = after(bad).unwrap_err();
            assert!(
                problem.code == 400 && problem.message.starts_with("continue "),
                "{bad}"
            );
        }
    }
}
