package ledger

import "strings"

var documentKinds = map[string]bool{
	DocClient: true, DocUser: true, DocKey: true, DocResource: true, DocRollout: true, DocReceipt: true,
	DocGateway: true, DocJoin: true, DocCode: true, DocDevice: true, DocPAR: true, DocLogin: true,
	DocConsent: true, DocPart: true, DocSetting: true, DocReply: true, DocHealth: true, DocPending: true,
}

// DocumentStream splits the stream of a document into kind and id; ok is false
// for other streams.
func DocumentStream(stream string) (kind, id string, ok bool) {
	kind, id, ok = strings.Cut(stream, "/")
	return kind, id, ok && id != "" && documentKinds[kind]
}
