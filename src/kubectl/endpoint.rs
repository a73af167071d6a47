//! `kubectl distributary drain`, `enable`, `disable`, `weigh` and `remove`: one endpoint of a policy.

use serde_json::{Map, Value, json};

use super::act::{self, How};
use super::cluster::Where;
use super::error::Error;
use crate::change::{Edit, Update, Whose};
use crate::cli::ExitStatus;
use distributary_core::policy::EndpointState;

/// An endpoint that is changed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    /// Id of the endpoint.
    #[arg(value_name = "ENDPOINT", value_parser = act::endpoint)]
    id: String,
    #[command(flatten)]
    how: How,
}

/// An endpoint, and its weight.
#[derive(Debug, clap::Args)]
pub struct WeighArguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    /// Id of the endpoint.
    #[arg(value_name = "ENDPOINT", value_parser = act::endpoint)]
    id: String,
    /// Share of the reads under the strategy Weighted, 0 to 1000; with 0 it is checked and receives no reads.
    #[arg(value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(0..=1000))]
    weight: u16,
    #[command(flatten)]
    how: How,
}

/// Gives an endpoint a state.
///
/// # Errors
/// What stands in its way.
pub async fn set(place: &Where, arguments: &Arguments, state: EndpointState) -> Result<ExitStatus, Error> {
    let Arguments { name, id, how } = arguments;
    let word = match state {
        EndpointState::Active => "enabled",
        EndpointState::Draining => "drained",
        EndpointState::Disabled => "disabled",
    };
    let edit = update(id, "state", json!(state));
    act::carry_out(place, name, &edit, how, &format!("{id} {word}")).await
}

/// # Errors
/// What stands in its way.
pub async fn weigh(place: &Where, arguments: &WeighArguments) -> Result<ExitStatus, Error> {
    let WeighArguments {
        name,
        id,
        weight,
        how,
    } = arguments;
    let edit = update(id, "weight", json!(weight));
    act::carry_out(place, name, &edit, how, &format!("{id} weighed")).await
}

/// # Errors
/// What stands in its way.
pub async fn remove(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let Arguments { name, id, how } = arguments;
    let edit = Edit::Remove(id.clone());
    act::carry_out(place, name, &edit, how, &format!("{id} removed")).await
}

fn update(id: &str, field: &str, value: Value) -> Edit {
    Edit::Update(Update {
        whose: Whose::Endpoint(id.to_owned()),
        fields: Map::from_iter([(field.to_owned(), value)]),
        address: None,
    })
}
