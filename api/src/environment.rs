//! A policy and its Secrets from the environment variables of an application: which variable becomes which field, and how its value
//! is read. Who asks: `distributary import`, and programs that are their own operator.

mod fields;
mod mapping;

pub use fields::known_variables;
pub use mapping::Import;

/// A variable; its value must not be shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, which may be a URL with a password.
    pub value: String,
}

/// A variable's value, or what must hold of it.
type ReadResult<T> = Result<T, String>;

/// `VARIABLE: what must hold`; never the value.
fn must(variable: &Variable, what: &str) -> String {
    format!("{}: must be {what}", variable.name)
}
