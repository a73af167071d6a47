//! What the next process goes by.

use distributary_api::{HolderStatus, MemoryStatus};
use distributary_core::decision::Decision;
use distributary_core::seeded::SeededFault;

/// What the choice of the write primary in a decision depends on; `None`: nothing was chosen.
#[must_use]
pub fn memory(decision: &Decision) -> Option<MemoryStatus> {
    let decided = decision.state.decided()?;
    let holding = &decided.holding;
    let member = decided.plan.rw.members.first();
    let holder = holding.holder.as_ref().map(|holder| {
        let view = decided.endpoints.iter().find(|view| view.id == holder.endpoint);
        let member = member.filter(|member| member.target == *holder);
        let address = member
            .map(|member| member.address)
            .or(holding.server.map(|server| server.ip()))
            .or(holder.pod)
            .or_else(|| view?.address);
        let port = view
            .and_then(|view| view.location.as_ref())
            .map(|location| location.port);
        HolderStatus {
            endpoint: holder.endpoint.to_string(),
            address: address.map(|address| address.to_string()),
            port: member
                .map(|member| member.port)
                .or(holding.server.map(|server| server.port()))
                .or(port),
        }
    });
    let servers = holding.contested.iter().map(ToString::to_string);
    let endpoints = holding.contested_endpoints.iter().map(ToString::to_string);
    let contested = servers
        .chain(endpoints)
        .filter(|_| !SeededFault::ContestNotRemembered.is_on());
    Some(MemoryStatus {
        holder,
        timeline: holding.timeline,
        system_identifier: holding.identity.map(|identity| identity.to_string()),
        accepted: holding.accepted.as_ref().map(ToString::to_string),
        contested: contested.collect(),
        author: None,
        term: None,
    })
}

/// The memory of a decision, signed as the one before it: who wrote it is no reason to write.
#[must_use]
pub fn carried(decision: &Decision, previous: Option<&MemoryStatus>) -> Option<MemoryStatus> {
    let previous = previous.cloned().unwrap_or_default();
    memory(decision).map(|memory| MemoryStatus {
        author: previous.author,
        term: previous.term,
        ..memory
    })
}

/// Whether both remember the same choice, whoever wrote them.
#[must_use]
pub fn agree(one: Option<&MemoryStatus>, other: Option<&MemoryStatus>) -> bool {
    one.map(MemoryStatus::choice) == other.map(MemoryStatus::choice)
}
