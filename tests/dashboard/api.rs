//! What the tests of the HTTP API have.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/api/scene.rs"]
pub mod scene;
