package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sort"
	"strings"
)

// tokenColumns are read by scanToken, in this order.
const tokenColumns = `t.id, t.kind, t.body, t.state, t.reason, t.by_id, t.version, t.handle,
	coalesce(u.uses, 0), coalesce(u.refused, 0), coalesce(u.first, 0), coalesce(u.last, 0), coalesce(u.gateway, ''), coalesce(u.route, '')
	FROM tokens t LEFT JOIN usage_tokens u ON u.token = t.id `

const eventColumns = `seq, stream, version, type, at, actor, coalesce(token, ''), coalesce(subject, ''), coalesce(client, ''), coalesce(release, ''), data, salt FROM events `

const documentColumns = `kind, id, version, body, coalesce(ref, ''), coalesce(expires, 0), updated FROM documents `

const rowColumns = `seq, hash, prev, term, epoch, issued, event, body, signature FROM state_rows `

// Names of queries whose text depends on nothing.
const (
	qHead            = "head"
	qTokenByID       = "token_by_id"
	qTokenByHandle   = "token_by_handle"
	qTokensFamily    = "token_ids_of_family"
	qFamily          = "family_by_id"
	qFamiliesOfGrant = "families_of_grant"
	qGrant           = "grant_by_id"
	qGrantsSubject   = "grants_of_subject"
	qSealed          = "sealed_of_family"
	qDocument        = "document_by_id"
	qDocumentByRef   = "document_by_ref"
	qDocuments       = "documents_of_kind"
	qEventsOfStream  = "events_of_stream"
	qEventsAfter     = "events_after"
	qEventsOfToken   = "events_of_token"
	qEventsOfSubject = "events_of_subject"
	qEventsOfClient  = "events_of_client"
	qEventsOfRelease = "events_of_release"
	qStreamVersion   = "stream_version"
	qStateRows       = "state_rows_from"
	qStateRow        = "state_row"
	qRevocations     = "revocations_active"
	qUsageOfToken    = "usage_of_token"
	qRoutesOfToken   = "usage_routes_of_token"
	qHours           = "usage_hours"
	qBoot            = "boot"
	qHashes          = "hashes_chunk"
	qDue             = "purge_due"
	qSeqFrom         = "issued_from"
	qSeqTo           = "issued_to"
	qLive            = "live_tokens"
	qExpired         = "expired_between"
	qListed          = "tokens_listed"
)

// A query is one SQL text with its name.
var queries = func() map[string]string {
	m := map[string]string{
		qHead:            `SELECT seq, at, issued, row_seq, row_hash, term, edge, signed FROM head WHERE id = 1`,
		qTokenByID:       `SELECT ` + tokenColumns + `WHERE t.id = ?1`,
		qTokenByHandle:   `SELECT ` + tokenColumns + `WHERE t.handle = ?1`,
		qTokensFamily:    `SELECT id FROM tokens WHERE family = ?1 ORDER BY exp, n`,
		qFamily:          `SELECT f.id, f.grant_id, f.current, f.previous, f.grace_until, f.revoked, f.reason, f.version, s.body, s.until FROM families f LEFT JOIN sealed s ON s.family = f.id WHERE f.id = ?1`,
		qFamiliesOfGrant: `SELECT id FROM families WHERE grant_id = ?1 ORDER BY id`,
		qGrant:           `SELECT body, revoked, reason, version FROM grants WHERE id = ?1`,
		qGrantsSubject:   `SELECT body, revoked, reason, version FROM grants WHERE subject = ?1 AND id > ?2 ORDER BY id LIMIT ?3`,
		qSealed:          `SELECT body, until FROM sealed WHERE family = ?1`,
		qDocument:        `SELECT ` + documentColumns + `WHERE kind = ?1 AND id = ?2`,
		qDocumentByRef:   `SELECT ` + documentColumns + `WHERE kind = ?1 AND ref = ?2`,
		qDocuments:       `SELECT ` + documentColumns + `WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3`,
		qEventsOfStream:  `SELECT ` + eventColumns + `WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3`,
		qEventsAfter:     `SELECT ` + eventColumns + `WHERE seq > ?1 ORDER BY seq LIMIT ?2`,
		// The token's own stream and what else names it, merged in order.
		qEventsOfToken: `SELECT ` + eventColumns + `WHERE seq IN (
			SELECT seq FROM (SELECT seq FROM events WHERE stream = 'token/' || ?1 AND seq > ?2 ORDER BY version LIMIT ?3)
			UNION ALL
			SELECT seq FROM (SELECT seq FROM events WHERE token = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3)
		) ORDER BY seq LIMIT ?3`,
		qEventsOfSubject: `SELECT ` + eventColumns + `WHERE subject = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3`,
		qEventsOfClient:  `SELECT ` + eventColumns + `WHERE client = ?1 AND substr(stream, 1, 6) <> 'token/' AND seq > ?2 ORDER BY seq LIMIT ?3`,
		qEventsOfRelease: `SELECT ` + eventColumns + `WHERE release = ?1 AND substr(stream, 1, 6) <> 'token/' AND seq > ?2 ORDER BY seq LIMIT ?3`,
		qStreamVersion:   `SELECT version FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1`,
		qStateRows:       `SELECT ` + rowColumns + `WHERE seq >= ?1 ORDER BY seq LIMIT ?2`,
		qStateRow:        `SELECT ` + rowColumns + `WHERE seq = ?1`,
		qRevocations:     `SELECT id, row_seq, forget, body FROM revocations WHERE restored = 0 AND (row_seq, id) > (?1, ?2) ORDER BY row_seq, id LIMIT ?3`,
		qUsageOfToken:    `SELECT uses, refused, first, last, gateway, route FROM usage_tokens WHERE token = ?1`,
		qRoutesOfToken:   `SELECT route, served, code, n, first, last FROM usage_routes WHERE token = ?1 ORDER BY route, served, code`,
		qHours:           `SELECT hour, release, served, route, code, n FROM usage_hours WHERE hour >= ?1 AND hour < ?2 ORDER BY hour, release, served, route, code`,
		qBoot:            `SELECT upto, above FROM boots WHERE gateway = ?1 AND boot = ?2`,
		qHashes:          `SELECT hashes FROM hashes WHERE chunk = ?1`,
		qDue: `SELECT EXISTS (SELECT 1 FROM documents WHERE expires < ?1) OR EXISTS (SELECT 1 FROM sealed WHERE until < ?2)
			OR EXISTS (SELECT 1 FROM once WHERE expires < ?1) OR EXISTS (SELECT 1 FROM revocations WHERE forget > 0 AND forget < ?1)`,
		qLive: `SELECT coalesce(t.release, ''), coalesce(t.client, ''), t.issuer, count(*) FROM tokens t
			WHERE t.exp > ?1 AND t.state IN (1, 2) GROUP BY 1, 2, 3`,
		qExpired: `SELECT coalesce(t.release, ''), coalesce(t.client, ''), t.issuer, count(*) FROM tokens t
			WHERE t.exp > ?1 AND t.exp <= ?2 AND t.state IN (1, 2, 3) GROUP BY 1, 2, 3`,
		qListed: `SELECT ` + tokenColumns + `WHERE t.release = ?1 AND t.exp >= ?2 AND t.exp < ?3 AND t.kind = 1
			AND (?4 = '' OR (t.exp, t.n) > (SELECT a.exp, a.n FROM tokens a WHERE a.id = ?4)) ORDER BY t.exp, t.n LIMIT ?5`,
		qSeqFrom: `SELECT coalesce(min(seq), 0) FROM tokens WHERE kind <> 5 AND iat BETWEEN ?1
			AND (SELECT iat FROM tokens WHERE kind <> 5 AND iat >= ?1 ORDER BY iat LIMIT 1) + 2`,
		qSeqTo: `SELECT coalesce(max(seq), 0) FROM tokens WHERE kind <> 5 AND iat <= ?1
			AND iat >= (SELECT iat FROM tokens WHERE kind <> 5 AND iat <= ?1 ORDER BY iat DESC LIMIT 1) - 2`,
	}
	for _, lead := range leads {
		m["tokens_by_"+lead.name] = `SELECT ` + tokenColumns + `WHERE ` + lead.where + pageWhere
		m["reach_by_"+lead.name] = `SELECT coalesce(t.release, ''), coalesce(t.client, ''), sum(t.state IN (1, 2)), max(t.exp) FROM tokens t WHERE ` +
			lead.where + selectorWhere + ` AND t.exp > ?13 AND t.state IN (1, 2, 3) GROUP BY 1, 2`
		m["count_by_"+lead.name] = `SELECT count(*) FROM tokens t WHERE ` + lead.where + selectorWhere + ` AND t.exp > ?13 AND t.state IN (1, 2)`
	}
	for dim, column := range liveColumns {
		m["live_by_"+dim] = `SELECT coalesce(` + column + `, ''), count(*) FROM tokens t WHERE t.exp > ?1 AND t.state IN (1, 2) GROUP BY 1 ORDER BY 1`
	}
	return m
}()

// liveColumns are the dimensions that live tokens are counted by.
var liveColumns = map[string]string{
	"release": "t.release", "key": "t.key", "client": "t.client", "issuer": "t.issuer", "kind": "CAST(t.kind AS TEXT)",
}

// leads are the dimensions that a selector can be answered by, most specific
// first: each names the condition that its index serves.
var leads = []struct{ name, where string }{
	{"token", "t.id = ?1"},
	{"family", "t.family = ?2"},
	{"grant", "t.grant_id = ?3"},
	{"subject", "t.subject = ?4"},
	{"key", "t.key = ?7"},
	{"client", "t.client = ?5"},
	{"release", "t.release = ?8"},
	{"exp", "t.exp > ?13"},
}

// selectorWhere are the conditions of a selector and a cutoff, each void when its
// parameter is empty: ?1 token … ?10 audience as in Selector's text form, ?11 and
// ?12 the cutoff's sequence window, ?14 and ?15 its window of issue times, ?16 and
// ?17 the selector's own window. Own tokens are compared by sequence, foreign
// ones by time (mintmark.Cutoff).
const selectorWhere = `
	AND (?1 = '' OR t.id = ?1) AND (?2 = '' OR t.family = ?2) AND (?3 = '' OR t.grant_id = ?3)
	AND (?4 = '' OR t.subject = ?4) AND (?5 = '' OR t.client = ?5) AND (?6 = '' OR t.issuer = ?6)
	AND (?7 = '' OR t.key = ?7) AND (?8 = '' OR t.release = ?8)
	AND (?9 = '' OR instr(t.scopes, ?9) > 0) AND (?10 = '' OR instr(t.audience, ?10) > 0)
	AND CASE WHEN t.kind = 5
		THEN (?14 = 0 OR t.iat >= ?14) AND (?15 = 0 OR t.iat <= ?15)
		ELSE (?11 = 0 OR t.seq >= ?11) AND (?12 = 0 OR t.seq <= ?12) END
	AND (?16 = 0 OR t.iat >= ?16) AND (?17 = 0 OR t.iat <= ?17)`

// pageWhere goes on after the token of id ?18, in order of expiry. ?19 and ?20
// are sets of kinds and states as bit masks; ?21 is now in Unix seconds, ?22 the
// limit.
const pageWhere = selectorWhere + `
	AND t.exp > ?13
	AND (?18 = '' OR (t.exp, t.n) > (SELECT a.exp, a.n FROM tokens a WHERE a.id = ?18))
	AND (?19 = 0 OR (?19 >> t.kind) & 1)
	AND (?20 = 0 OR (?20 >> CASE
		WHEN t.state IN (1, 2, 3) AND t.exp <= ?21 THEN 4
		WHEN t.state = 1 AND coalesce(u.first, 0) > 0 THEN 2
		ELSE t.state END) & 1)
	ORDER BY t.exp, t.n LIMIT ?22`

// QueryNames lists every named query, sorted.
func (s *Store) QueryNames() []string {
	names := make([]string, 0, len(queries)+len(writes))
	for n := range queries {
		names = append(names, n)
	}
	for n := range writes {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Explain returns the steps of a query's plan, as EXPLAIN QUERY PLAN tells them.
func (s *Store) Explain(ctx context.Context, name string) ([]string, error) {
	text, ok := queries[name]
	if !ok {
		if text, ok = writes[name]; !ok {
			return nil, fmt.Errorf("sqlite: no query %q", name)
		}
	}
	args := make([]any, 22+bulkRows*8)
	for i := range args {
		args[i] = 1
	}
	n := strings.Count(text, "?") // anonymous parameters
	for i := 22; i > 0; i-- {
		if strings.Contains(text, fmt.Sprintf("?%d", i)) {
			n = i
			break
		}
	}
	rows, err := s.reads.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text, args[:n]...)
	if err != nil {
		return nil, fmt.Errorf("explain %s: %w", name, err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		steps = append(steps, detail)
	}
	return steps, rows.Err()
}

// stmt returns a prepared read, made at first use.
func (s *Store) stmt(ctx context.Context, name string) (*sql.Stmt, error) {
	if st, ok := s.stmts.Load(name); ok {
		return st.(*sql.Stmt), nil
	}
	text, ok := queries[name]
	if !ok {
		return nil, fmt.Errorf("sqlite: no query %q", name)
	}
	st, err := s.reads.PrepareContext(ctx, text)
	if err != nil {
		return nil, failed(name, err)
	}
	if other, loaded := s.stmts.LoadOrStore(name, st); loaded {
		_ = st.Close()
		st = other.(*sql.Stmt)
	}
	return st, nil
}
