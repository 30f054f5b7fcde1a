package sqlite

import "strings"

// Names of writing statements; they run in the one write transaction.
const (
	wEvent          = "write_event"
	wToken          = "write_token"
	wSeen           = "write_token_seen"
	wTokenState     = "write_token_state"
	wFamily         = "write_family"
	wGrant          = "write_grant"
	wEndFamily      = "end_family"
	wEndTokens      = "end_tokens_of_family"
	wEndFamilies    = "end_families_of_grant"
	wEndGrantTokens = "end_tokens_of_grant"
	wDocument       = "write_document"
	wDropDocument   = "drop_document"
	wStateRow       = "write_state_row"
	wRevocation     = "write_revocation"
	wRestore        = "restore_revocation"
	wSealed         = "write_sealed"
	wOnce           = "write_once"
	wHashes         = "write_hashes"
	wHead           = "write_head"
	wBoot           = "write_boot"
	wUsageTokens    = "fold_usage_tokens"
	wUsageRoutes    = "fold_usage_routes"
	wUsageHours     = "fold_usage_hours"
	wPurgeDocuments = "purge_documents"
	wPurgeSealed    = "purge_sealed"
	wPurgeOnce      = "purge_once"
	wPurgeRevoked   = "purge_revocations"
)

const tokenInsert = `(id, kind, issuer, subject, client, grant_id, family, release, key, seq, iat, exp, scopes, audience, handle, body, state, reason, by_id, version)
	VALUES (?1, ?2, ?3, nullif(?4, ''), nullif(?5, ''), nullif(?6, ''), nullif(?7, ''), nullif(?8, ''), nullif(?9, ''), ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)`

// Purges take rows in a fixed order, so that folding the purge again takes the
// same ones.
var writes = map[string]string{
	wEvent: `INSERT INTO events (seq, stream, version, type, at, actor, token, subject, client, release, data, salt)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, ''), nullif(?8, ''), nullif(?9, ''), nullif(?10, ''), ?11, ?12)`,
	wToken:      `INSERT INTO tokens ` + tokenInsert,
	wSeen:       `INSERT INTO tokens ` + tokenInsert + ` ON CONFLICT (id) DO NOTHING`,
	wTokenState: `UPDATE tokens SET state = ?2, reason = ?3, by_id = ?4, version = ?5 WHERE id = ?1`,
	wFamily: `INSERT INTO families (id, grant_id, current, previous, grace_until, revoked, reason, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
		ON CONFLICT (id) DO UPDATE SET current = excluded.current, previous = excluded.previous, grace_until = excluded.grace_until,
			revoked = excluded.revoked, reason = excluded.reason, version = excluded.version`,
	wGrant: `INSERT INTO grants (id, subject, client, body, revoked, reason, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (id) DO UPDATE SET revoked = excluded.revoked, reason = excluded.reason, version = excluded.version`,
	wEndFamily:      `UPDATE families SET revoked = 1, reason = ?2 WHERE id = ?1 AND revoked = 0`,
	wEndTokens:      `UPDATE tokens SET state = 5, reason = ?2 WHERE family = ?1 AND exp > ?3 AND state IN (1, 2, 3)`,
	wEndFamilies:    `UPDATE families SET revoked = 1, reason = ?2 WHERE grant_id = ?1 AND revoked = 0`,
	wEndGrantTokens: `UPDATE tokens SET state = 5, reason = ?2 WHERE grant_id = ?1 AND exp > ?3 AND state IN (1, 2, 3)`,
	wDocument: `INSERT INTO documents (kind, id, version, body, ref, expires, updated) VALUES (?1, ?2, ?3, ?4, nullif(?5, ''), nullif(?6, 0), ?7)
		ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, body = excluded.body, ref = excluded.ref, expires = excluded.expires, updated = excluded.updated`,
	wDropDocument: `DELETE FROM documents WHERE kind = ?1 AND id = ?2`,
	wStateRow: `INSERT INTO state_rows (seq, hash, prev, term, epoch, issued, event, body, signature)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`,
	wRevocation: `INSERT INTO revocations (id, row_seq, forget, body, restored) VALUES (?1, ?2, ?3, ?4, 0)`,
	wRestore:    `UPDATE revocations SET restored = ?2 WHERE id = ?1 AND restored = 0`,
	wSealed: `INSERT INTO sealed (family, body, until) VALUES (?1, ?2, ?3)
		ON CONFLICT (family) DO UPDATE SET body = excluded.body, until = excluded.until`,
	// An expired mark may be set again; a live one stays, and nothing is changed.
	wOnce: `INSERT INTO once (space, key, expires) VALUES (?1, ?2, ?3)
		ON CONFLICT (space, key) DO UPDATE SET expires = excluded.expires WHERE once.expires <= ?4`,
	wHashes: `INSERT INTO hashes (chunk, hashes) VALUES (?1, ?2) ON CONFLICT (chunk) DO UPDATE SET hashes = excluded.hashes`,
	wHead: `INSERT INTO head (id, seq, at, issued, row_seq, row_hash, term, edge, signed) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
		ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, at = excluded.at, issued = excluded.issued, row_seq = excluded.row_seq,
			row_hash = excluded.row_hash, term = excluded.term, edge = excluded.edge, signed = excluded.signed`,
	wBoot: `INSERT INTO boots (gateway, boot, upto, above) VALUES (?1, ?2, ?3, ?4)
		ON CONFLICT (gateway, boot) DO UPDATE SET upto = excluded.upto, above = excluded.above`,
	wUsageTokens: usageTokens.text(1),
	wUsageRoutes: usageRoutes.text(1),
	wUsageHours:  usageHours.text(1),

	wUsageTokens + bulkSuffix: usageTokens.text(bulkRows),
	wUsageRoutes + bulkSuffix: usageRoutes.text(bulkRows),
	wUsageHours + bulkSuffix:  usageHours.text(bulkRows),
	wPurgeDocuments: `DELETE FROM documents WHERE (kind, id) IN
		(SELECT kind, id FROM documents WHERE expires < ?1 ORDER BY expires, kind, id LIMIT ?2)`,
	wPurgeSealed: `DELETE FROM sealed WHERE family IN (SELECT family FROM sealed WHERE until < ?1 ORDER BY until, family LIMIT ?2)`,
	wPurgeOnce:   `DELETE FROM once WHERE (space, key) IN (SELECT space, key FROM once WHERE expires < ?1 ORDER BY expires LIMIT ?2)`,
	wPurgeRevoked: `DELETE FROM revocations WHERE id IN
		(SELECT id FROM revocations WHERE forget > 0 AND forget < ?1 ORDER BY forget, id LIMIT ?2)`,
}

// A bulk is an upsert of many rows by one statement: a call for each row would
// cost as much as the row.
type bulk struct {
	name          string
	insert, onKey string
	columns       int
}

// bulkRows is how many rows one statement of a bulk takes.
const bulkRows = 64

// bulkSuffix names the statement of that many rows.
const bulkSuffix = "_64"

var (
	usageTokens = bulk{
		wUsageTokens, `INSERT INTO usage_tokens (token, uses, refused, first, last, gateway, route)`,
		`ON CONFLICT (token) DO UPDATE SET uses = uses + excluded.uses, refused = refused + excluded.refused, first = min(first, excluded.first),
			gateway = iif(excluded.last >= last, excluded.gateway, gateway), route = iif(excluded.last >= last, excluded.route, route),
			last = max(last, excluded.last)`, 7,
	}
	usageRoutes = bulk{
		wUsageRoutes, `INSERT INTO usage_routes (token, route, served, code, n, first, last)`,
		`ON CONFLICT (token, route, served, code) DO UPDATE SET n = n + excluded.n, first = min(first, excluded.first), last = max(last, excluded.last)`, 7,
	}
	usageHours = bulk{
		wUsageHours, `INSERT INTO usage_hours (hour, release, served, route, code, n)`,
		`ON CONFLICT (hour, release, served, route, code) DO UPDATE SET n = n + excluded.n`, 6,
	}
)

// text returns the statement for a number of rows.
func (b bulk) text(rows int) string {
	row := "(?" + strings.Repeat(", ?", b.columns-1) + ")"
	return b.insert + " VALUES " + row + strings.Repeat(", "+row, rows-1) + " " + b.onKey
}
