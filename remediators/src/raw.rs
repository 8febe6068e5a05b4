//! XML documents that are read, edited and put back whole: taken from the answer itself
//! ([`crate::body::Answer`]), cut into the elements they consist of ([`elements`]), and sent as text
//! ([`crate::body::Body`]).

use roxmltree::{Document, Node};

use crate::{Error, ErrorKind, Result, text::excerpt};

/// The elements below the root of an XML document, each byte for byte as it stands there.
///
/// # Errors
/// [`ErrorKind::Invalid`] where the document is no XML, its root is another one than `root`, or cutting it
/// up would lose something: text or attributes beside the elements, or names of another namespace.
pub(crate) fn elements(document: &str, root: &str) -> Result<Vec<String>> {
    let invalid = |why: String| Error::new(ErrorKind::Invalid, why);
    let tree =
        Document::parse(document).map_err(|error| invalid(format!("`{root}` can't be read: {error}")))?;
    let top = tree.root_element();
    if top.tag_name().name() != root {
        return Err(invalid(format!("the answer is `{}`, not `{root}`", excerpt(top.tag_name().name()))));
    }
    let own = top.tag_name().namespace();
    if let Some(attribute) = top.attributes().next() {
        return Err(invalid(format!(
            "`{root}` has an attribute `{}`, which would be lost",
            excerpt(attribute.name())
        )));
    }
    let mut found = Vec::new();
    for child in top.children() {
        if child.is_text() && child.text().is_some_and(|text| !text.trim().is_empty()) {
            return Err(invalid(format!("`{root}` holds text, which would be lost")));
        }
        if !child.is_element() {
            continue;
        }
        let foreign = |node: &Node<'_, '_>| {
            node.is_element()
                && (node.tag_name().namespace() != own
                    || node.attributes().any(|attribute| attribute.namespace().is_some()))
        };
        let text = document.get(child.range()).unwrap_or_default();
        // A prefix that the root declares makes a fragment that can't be read on its own.
        if let Some(node) = child.descendants().find(foreign).or(Document::parse(text).err().map(|_| child)) {
            let name = excerpt(node.tag_name().name());
            return Err(invalid(format!("`{root}` holds `{name}` of another namespace")));
        }
        found.push(text.to_owned());
    }
    Ok(found)
}

/// A form of an element that is equal for all ways to write the same: namespace, white space between
/// elements, comments and the order of elements do not count. `skip` names nodes that do not count either.
///
/// `None` where `element` can't be read.
pub(crate) fn normal(element: &str, skip: fn(Node<'_, '_>) -> bool) -> Option<String> {
    fn walk(node: Node<'_, '_>, skip: fn(Node<'_, '_>) -> bool) -> String {
        let mut attributes: Vec<String> = node
            .attributes()
            .map(|attribute| format!(" {}={:?}", attribute.name(), attribute.value()))
            .collect();
        attributes.sort_unstable();
        let mut inner: Vec<String> = Vec::new();
        let mut is_leaf = true;
        for child in node.children().filter(Node::is_element) {
            is_leaf = false;
            if !skip(child) {
                inner.push(walk(child, skip));
            }
        }
        inner.sort_unstable();
        let text: String = node.children().filter(Node::is_text).filter_map(|child| child.text()).collect();
        let text = if is_leaf { text.as_str() } else { text.trim() };
        if !text.is_empty() {
            inner.push(format!("{text:?}"));
        }
        format!("{}{}({})", node.tag_name().name(), attributes.concat(), inner.join(","))
    }
    let tree = Document::parse(element).ok()?;
    Some(walk(tree.root_element(), skip))
}

/// The element of this name right below `node`.
pub(crate) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

/// The text of the element of this name right below `node`.
pub(crate) fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).map(|found| found.text().unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod test {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use std::sync::{Arc, Mutex};

    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
    use aws_smithy_runtime_api::client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    };
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::{Access, Aws, Connection, Erased, Key, Pace};

    /// A request as it would have left the process.
    #[derive(Clone, Debug)]
    pub(crate) struct Sent {
        pub(crate) method: String,
        pub(crate) uri: String,
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) body: String,
    }

    impl Sent {
        pub(crate) fn header(&self, name: &str) -> Option<&str> {
            self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        }
    }

    /// A canned answer: status, headers, body.
    pub(crate) type Canned = (u16, Vec<(&'static str, String)>, String);

    /// Answers to requests without a network.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Wire {
        answers: Arc<Mutex<Vec<(&'static str, Canned)>>>,
        sent: Arc<Mutex<Vec<Sent>>>,
        pace: Option<Arc<dyn Pace>>,
    }

    impl Wire {
        /// Answers every request that starts like this (`GET /?lifecycle`, `POST / Action=…` with its body); later
        /// ones take precedence.
        pub(crate) fn answer(&self, to: &'static str, with: Canned) {
            self.answers.lock().unwrap().insert(0, (to, with));
        }

        /// The same, at this pace.
        pub(crate) fn paced(&self, pace: Arc<dyn Pace>) -> Self {
            Self { pace: Some(pace), ..self.clone() }
        }

        pub(crate) fn sent(&self) -> Vec<Sent> {
            self.sent.lock().unwrap().clone()
        }

        pub(crate) fn aws(&self, remediator: &dyn Erased, access: Access) -> Aws {
            let aws = self.unpermitted(remediator, access);
            aws.permit_writes(jiff::Timestamp::MAX, Arc::new(|| jiff::Timestamp::MIN));
            aws
        }

        /// Writes may not go out yet.
        pub(crate) fn unpermitted(&self, remediator: &dyn Erased, access: Access) -> Aws {
            let connector = self.clone();
            let config = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-west-1"))
                .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
                .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(connector.clone())))
                .build();
            let key: Key = "aws/123456789012/eu-west-1/AwsS3Bucket/logs".parse().unwrap();
            let connection = Connection { pace: self.pace.clone(), ..Connection::new(config) };
            Aws::new(connection, key, remediator, access)
        }
    }

    impl HttpConnector for Wire {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let uri = request.uri().split_once("amazonaws.com").expect("an AWS endpoint").1.to_owned();
            let sent = Sent {
                method: request.method().to_owned(),
                uri,
                headers: request.headers().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
                body: String::from_utf8(request.body().bytes().unwrap_or_default().to_vec()).unwrap(),
            };
            let line = format!("{} {} {}", sent.method, sent.uri, sent.body);
            self.sent.lock().unwrap().push(sent);
            let answers = self.answers.lock().unwrap();
            let (status, headers, body) = answers
                .iter()
                .find(|(to, _)| line.starts_with(to))
                .map_or((404, Vec::new(), String::new()), |(_, with)| with.clone());
            let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            for (name, value) in headers {
                response.headers_mut().insert(name, value);
            }
            HttpConnectorFuture::ready(Ok(response))
        }
    }

    /// A small generator of pseudo-random numbers (splitmix64): the same seed gives the same case.
    pub(crate) struct Dice(pub(crate) u64);

    impl Dice {
        pub(crate) fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((z ^ (z >> 31)) % u64::try_from(limit.max(1)).unwrap()).unwrap()
        }

        pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
            from[self.below(from.len())]
        }
    }

    fn nothing(_: Node<'_, '_>) -> bool {
        false
    }

    #[test]
    fn a_document_is_cut_byte_for_byte() {
        let document = "<?xml version=\"1.0\"?>\n<A xmlns=\"urn:a\">\n  <B x='1'> a &amp;b<C/></B>\n<B></B><New><X>é</X></New></A>\n";
        assert_eq!(
            elements(document, "A").unwrap(),
            ["<B x='1'> a &amp;b<C/></B>", "<B></B>", "<New><X>é</X></New>"]
        );
        assert!(elements("<A/>", "A").unwrap().is_empty());
    }

    #[test]
    fn what_cutting_would_lose_is_refused() {
        for (document, why) in [
            ("<A>text<B/></A>", "text"),
            ("<A y=\"1\"><B/></A>", "`y`"),
            ("<p:A xmlns:p=\"urn:a\"><p:B/></p:A>", "namespace"),
            ("<A><B xmlns=\"urn:other\"/></A>", "namespace"),
            ("<A><B><C xmlns=\"urn:other\"/></B></A>", "`C`"),
            ("<A xmlns:x=\"urn:x\"><B x:type=\"y\"/></A>", "namespace"),
            ("<Z/>", "`Z`"),
            ("<A>", "can't be read"),
            ("", "can't be read"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><A>&b;</A>", "can't be read"),
        ] {
            let error = elements(document, "A").unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(why), "{document}: {error}");
        }
    }

    #[test]
    fn normal_form_knows_the_same_from_another() {
        let form = |element| normal(element, nothing).unwrap();
        let first = form("<R><ID>a</ID><F><P></P></F><D>1</D></R>");
        for same in [
            "<R xmlns=\"urn:a\"><D>1</D><ID>a</ID><F><P/></F></R>",
            "<R>\n <ID>a</ID>\n <F> <P/> </F><D>1</D><!-- --></R>",
            "<R><ID>&#97;</ID><F><P/></F><D><![CDATA[1]]></D></R>",
        ] {
            assert_eq!(form(same), first, "{same}");
        }
        for other in [
            "<R><ID>a</ID><F/><D>1</D></R>",
            "<R><ID>a </ID><F><P/></F><D>1</D></R>",
            "<R><ID>a</ID><F><P/></F><D>1</D><D>1</D></R>",
            "<R><ID>a</ID><F><P/></F><D x=\"\">1</D></R>",
            "<R><ID>a</ID><F><P/>t</F><D>1</D></R>",
        ] {
            assert_ne!(form(other), first, "{other}");
        }
        assert_eq!(normal("<R>", nothing), None);
    }

    #[test]
    fn long_and_odd_text_is_fit_to_show() {
        assert_eq!(excerpt("a\u{1b}\n"), "a\\u{1b}\\n");
        assert!(excerpt(&"x".repeat(500)).ends_with("x…"));
    }
}
