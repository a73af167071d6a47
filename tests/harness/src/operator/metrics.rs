//! What its metrics say.

use anyhow::Result;

use super::Operator;
use crate::page;

impl Operator {
    /// The page of its metrics.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.http_get("/metrics").await?.body)
    }

    /// Whether it says that it leads.
    ///
    /// # Errors
    /// When there is no answer, or it says nothing of it.
    pub async fn leads(&self) -> Result<bool> {
        Ok(page::value(&self.metrics().await?, "distributary_leader", "")? > 0.5)
    }

    /// The whole checks that it has made, with this in their result, such as `Good`; empty: all.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn checks(&self, result: &str) -> Result<u64> {
        Ok(page::sum_of(
            &self.metrics().await?,
            "distributary_checks_total",
            result,
        ))
    }
}
