//! Pages of a list, bounded in bytes: the API server bounds them only in objects.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::api::ListParams;
use kube::client::Body;
use kube::core::{ListMeta, ObjectList, Request, Status};
use kube::{Api, Resource};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use crate::k8s::error::CallError;

/// A page is read within this time, or has failed.
const DEADLINE: Duration = Duration::from_secs(30);
/// Objects in a page, at most.
const OBJECTS: u32 = 500;
/// Bytes in a page of more than one object, at most.
const BYTES: usize = 2 * 1024 * 1024;
/// A page that is too large is asked for again with so many times fewer objects.
const SHRINK: u32 = 8;

/// An object without who manages its fields: nobody here asks for that, and its tree takes ten times the memory of its
/// text. It goes as each object is read, so that a page holds the tree of one.
#[derive(Clone)]
struct WithoutManagers<K>(K);

impl<'de, K: Resource + Deserialize<'de>> Deserialize<'de> for WithoutManagers<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::deserialize(deserializer)?;
        object.meta_mut().managed_fields = None;
        Ok(Self(object))
    }
}

/// How many objects to ask for.
#[derive(Debug)]
pub struct PageSize(u32);

impl Default for PageSize {
    fn default() -> Self {
        Self(OBJECTS)
    }
}

impl PageSize {
    const fn most_bytes(&self) -> usize {
        if self.0 == 1 { usize::MAX } else { BYTES }
    }

    fn too_large(&mut self) {
        self.0 = (self.0 / SHRINK).max(1);
    }

    /// A page of so many bytes was read.
    fn was(&mut self, bytes: usize) {
        if bytes < BYTES / 4 {
            self.0 = (self.0 * 2).min(OBJECTS);
        }
    }
}

/// Objects of a list, and where it goes on.
pub struct Page<K> {
    pub metadata: ListMeta,
    pub objects: VecDeque<K>,
}

/// Reads the page that `params` ask for, with as many objects as `size` allows.
///
/// # Errors
/// What the API server says against it, or that it did not answer in time.
pub async fn read_page<K>(
    api: &Api<K>,
    mut params: ListParams,
    size: &mut PageSize,
) -> Result<Page<K>, CallError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    loop {
        params.limit = Some(size.0);
        let answer = tokio::time::timeout(DEADLINE, read(api, &params, size.most_bytes())).await;
        let Some(page) = answer.map_err(|_| CallError::Deadline(DEADLINE))?? else {
            size.too_large();
            continue;
        };
        size.was(page.len());
        let page: ObjectList<WithoutManagers<K>> =
            serde_json::from_slice(&page).map_err(kube::Error::SerdeError)?;
        return Ok(Page {
            metadata: page.metadata,
            objects: page.items.into_iter().map(|object| object.0).collect(),
        });
    }
}

/// The text of a page; `None`: it is longer than `most`.
async fn read<K: Resource + Clone>(
    api: &Api<K>,
    params: &ListParams,
    most: usize,
) -> Result<Option<bytes::Bytes>, CallError> {
    let request = Request::new(api.resource_url());
    let request = if K::metadata_api() {
        request.list_metadata(params)
    } else {
        request.list(params)
    };
    let request = request.map_err(kube::Error::BuildRequest)?.map(Body::from);
    let answer = api.clone().into_client().send(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), most).collect().await;
    let text = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Ok(None),
        Err(error) => return Err(kube::Error::Service(error).into()),
    };
    if status.is_success() {
        return Ok(Some(text));
    }
    let told = serde_json::from_slice::<Status>(&text).ok();
    let told = told.unwrap_or_else(|| Status::failure(status.as_str(), "Unknown"));
    Err(CallError::Refused(told.with_code(status.as_u16()).boxed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a list of `objects` that have so many bytes each: the objects of each page that was read, and how many pages
    /// were too large.
    fn sizes(objects: u32, bytes: usize) -> (Vec<u32>, usize) {
        let (mut size, mut left, mut pages, mut refused) = (PageSize::default(), objects, Vec::new(), 0);
        while left > 0 {
            let page = size.0.min(left);
            let length = page as usize * bytes;
            if length > size.most_bytes() {
                size.too_large();
                refused += 1;
                continue;
            }
            size.was(length);
            pages.push(page);
            left -= page;
        }
        (pages, refused)
    }

    #[test]
    fn a_page_has_few_objects_where_they_are_large() {
        assert_eq!(sizes(1200, 1024), (vec![500, 500, 200], 0));
        let (pages, refused) = sizes(500, 250_000);
        assert_eq!((pages[0], refused), (7, 2));
        assert!(
            pages.iter().all(|page| *page as usize * 250_000 <= BYTES),
            "{pages:?}"
        );
    }

    #[test]
    fn a_single_object_is_read_however_large_it_is() {
        let (pages, _) = sizes(3, 3 * BYTES);
        assert_eq!(pages, [1, 1, 1]);
    }

    #[test]
    fn pages_grow_again_where_objects_are_small() {
        let mut size = PageSize::default();
        size.too_large();
        for _ in 0..4 {
            size.was(1000);
        }
        assert_eq!(size.0, OBJECTS);
    }
}
