//! The route that `explain` is asked about.

use serde_json::Value;

use super::Arguments;
use crate::cli::Error;
use crate::cli::endpoints::Shown;
use distributary_core::table::named::of_region;

/// The one route that is asked for, and whom its operations go to.
pub struct Asked {
    pub route: String,
    target: String,
}

impl Asked {
    /// `None`: all of them are.
    ///
    /// # Errors
    /// There is no such class or region, or nothing that tells of them.
    pub fn of(arguments: &Arguments, routing: Option<&Value>) -> Result<Option<Self>, Error> {
        if arguments.class.is_none() && arguments.region.is_none() && arguments.priority.is_none() {
            return Ok(None);
        }
        let routing = routing.ok_or_else(|| {
            Error::Unusable(
                "its ConfigMap with routing.json is missing, which tells of classes and regions".to_owned(),
            )
        })?;
        let of_priority = arguments
            .priority
            .as_ref()
            .and_then(|it| routing["priorities"][it].as_str());
        if let Some(target) = of_priority {
            return Ok(Some(Self::led_by(target)));
        }
        if let Some(name) = &arguments.class {
            let classes = || routing["classes"].as_array().into_iter().flatten();
            let class = classes().find(|class| class["name"] == **name).ok_or_else(|| {
                let known: Vec<_> = classes().filter_map(|class| class["name"].as_str()).collect();
                Error::invalid(format!(
                    "there is no class {name}: there are {}",
                    known.join(", ")
                ))
            })?;
            let text = |field: &str| class[field].as_str().unwrap_or_default().to_owned();
            return Ok(Some(Self {
                route: text("route"),
                target: text("target"),
            }));
        }
        let Some(region) = &arguments.region else {
            let route = routing["defaultRoute"].as_str().unwrap_or_default().to_owned();
            return Ok(Some(Self {
                route,
                target: "Replicas".to_owned(),
            }));
        };
        let route = of_region(region);
        if routing["routes"].get(&route).is_none() {
            return Err(Error::invalid(format!(
                "there is no region {region} in loadBalancing.regions"
            )));
        }
        Ok(Some(Self {
            route,
            target: "Replicas".to_owned(),
        }))
    }

    fn led_by(target: &str) -> Self {
        let route = match target {
            "Primary" => "rw",
            "PrimaryPreferred" => "primary-preferred",
            _ => "ro",
        };
        Self {
            route: route.to_owned(),
            target: target.to_owned(),
        }
    }

    /// Why a server that is well is not in the route.
    pub fn why_not(&self, shown: &Shown) -> &'static str {
        if shown.classes.iter().any(|class| class.name == self.route) {
            return "the class stays away from it, see above";
        }
        match (self.target.as_str(), shown.role.as_str()) {
            ("Primary", "Standby") => "only the primary serves it",
            ("PrimaryPreferred", "Standby") => "the primary serves it while it is well",
            ("ReplicasOnly", "Primary") => "the primary never serves it",
            ("Replicas", "Primary") => "the primary serves it only as a fallback",
            _ => "others serve it first: those that the class selects, or those of a nearer region",
        }
    }
}
