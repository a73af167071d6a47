//! What people see: nothing that axe-core finds, in both schemes and on a phone; pictures for the documentation.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use serde_json::Value;

use crate::chromium::Page;
use crate::fleet::signed_in;
use crate::stub::Stub;

/// Set: the pictures of docs/images are made anew.
const UPDATE: &str = "UPDATE_SCREENSHOTS";
const LARGEST: usize = 150_000;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test("axe_finds_nothing_and_pictures_are_made", async |_| looks().await)
}

/// What `tests/dashboard/install` fills, and where all pictures are.
fn target() -> PathBuf {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from);
    target.join("dashboard")
}

fn axe() -> Result<String> {
    let path = target().join("node_modules/axe-core/axe.min.js");
    fs::read_to_string(&path)
        .with_context(|| format!("{}: tests/dashboard/install installs it", path.display()))
}

/// What axe-core finds on the page as it is.
async fn finds(page: &Page, axe: &str) -> Result<Vec<String>> {
    page.value(&format!("{axe}; 0")).await?;
    let asked = "axe.run(document, {resultTypes: ['violations']}).then(({violations}) =>
        violations.flatMap(({id, help, nodes}) => nodes.map(({html, any}) => `${id}: ${help}: ${html.slice(0, 200)} ${JSON.stringify(any[0]?.data ?? null)}`)))";
    let found = page.value(asked).await?;
    let found = found.as_array().context("axe-core")?.iter();
    Ok(found.filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

async fn looks() -> Result<()> {
    let axe = axe()?;
    let stub = Stub::start(1000).await?;
    let (_browser, page) = signed_in(&stub).await?;
    let mut found = vec![];
    for (name, hash, shows) in [
        ("fleet", "#/", "1,000 in all"),
        ("policy", "#/shop/orders", "Primary in Frankfurt"),
    ] {
        page.value(&format!("location.hash = '{hash}'")).await?;
        page.shows(shows).await?;
        for (size, width, height) in [("", 1200, 860), ("-phone", 390, 844)] {
            page.size(width, height).await?;
            for scheme in ["light", "dark"] {
                page.scheme(scheme).await?;
                let wide = page.value("document.documentElement.scrollWidth").await?;
                ensure!(
                    wide.as_u64() <= Some(u64::from(width)),
                    "{name} is {wide} wide at {width}"
                );
                let all = finds(&page, &axe).await?;
                found.extend(
                    all.into_iter()
                        .map(|text| format!("{name}{size} {scheme}: {text}")),
                );
                keep(&page, &format!("{name}{size}-{scheme}")).await?;
            }
        }
        page.size(1200, 860).await?;
    }
    for (button, name) in [("Remove", "removal"), ("Weight", "weight")] {
        page.value(&format!("[...document.querySelectorAll('button')].find((button) => button.textContent === '{button}' && button.checkVisibility()).click()")).await?;
        let all = finds(&page, &axe).await?;
        found.extend(all.into_iter().map(|text| format!("{name}: {text}")));
        page.press("Escape").await?;
        page.until(
            "the dialog to be closed",
            "!document.querySelector('dialog').open",
        )
        .await?;
    }
    page.click("#sign-out").await?;
    for scheme in ["light", "dark"] {
        page.scheme(scheme).await?;
        let all = finds(&page, &axe).await?;
        found.extend(all.into_iter().map(|text| format!("sign-in {scheme}: {text}")));
        keep(&page, &format!("sign-in-{scheme}")).await?;
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

/// The pictures that the documentation shows.
const SHOWN: [&str; 3] = ["fleet-light", "policy-light", "policy-phone-dark"];

async fn keep(page: &Page, name: &str) -> Result<()> {
    let picture = page.picture().await?;
    let folder = target().join("pictures");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{name}.png")), &picture)?;
    if std::env::var_os(UPDATE).is_none() || !SHOWN.contains(&name) {
        return Ok(());
    }
    let picture = page.top().await?;
    ensure!(picture.len() < LARGEST, "{name} has {} bytes", picture.len());
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("dashboard-{name}.png")), picture)?;
    Ok(())
}
