package archtest

// The layers, lowest first. A package may import those of lower layers; of its own
// layer only along an arrow named below. Roles and engines stand side by side and
// do not know each other.
const (
	words = iota
	messages
	formats
	decisions
	state
	roles
	engines
	surfaces
	command
	tests
)

var layerNames = [...]string{"words", "api", "formats", "decisions", "state", "roles", "engines", "surfaces", "cmd", "tests"}

// layers says where each package belongs. A package that is not here fails the
// test: decide its layer when it is made. Packages of fakes ("fleettest") belong
// where their contract does.
var layers = map[string]int{
	"": words,

	"api": messages,

	"internal/jose":       formats,
	"internal/oauth":      formats,
	"internal/handle":     formats,
	"internal/statuslist": formats,
	"internal/forwarded":  formats,
	"internal/identity":   formats,
	"internal/framing":    formats,

	"internal/revocation": decisions,
	"internal/epoch":      decisions,
	"internal/admission":  decisions,
	"internal/lifecycle":  decisions,
	"internal/policy":     decisions,
	"internal/lint":       decisions,
	"internal/rollout":    decisions,
	"internal/whatif":     decisions,
	"internal/sequential": decisions,
	"internal/health":     decisions,
	"internal/predicate":  decisions,
	"internal/receipt":    decisions,

	"internal/ledger":     state,
	"internal/auditlog":   state,
	"internal/keyring":    state,
	"internal/projection": state,
	"internal/bus":        state,
	"internal/telemetry":  state,
	"internal/web":        state,
	"internal/config":     state,
	"internal/boottime":   state,
	"internal/limit":      state,
	"internal/latency":    state,
	"internal/arrival":    state,
	"internal/loopback":   state,

	"internal/authority":      roles,
	"internal/login":          roles,
	"internal/statusprovider": roles,
	"internal/federation":     roles,
	"internal/verifier":       roles,
	"internal/usage":          roles,
	"internal/gateway":        roles,
	"internal/upstream":       roles,
	"internal/mirror":         roles,
	"internal/follower":       roles,
	"internal/fleet":          roles,
	"internal/recorder":       roles,
	"internal/analysis":       roles,
	"internal/exposure":       roles,
	"internal/control":        roles,

	"internal/sqlite":    engines,
	"internal/storetest": engines,
	"internal/jetstream": engines,
	"internal/spool":     engines,

	"internal/adminapi": surfaces,
	"internal/extauthz": surfaces,
	"internal/cli":      surfaces,
	"internal/demo":     surfaces,
	// The test kit, for Go tests outside of the product too.
	"testkit": surfaces,

	"cmd/mintmark":        command,
	"cmd/mintmark-verify": command,

	"internal/archtest": tests,
	"internal/e2e":      tests,
	// Control on real engines, for the tests of control and of the admin API.
	"internal/control/controltest": tests,
	// The side-by-side benchmark; no part of the product.
	"bench/rig": tests,
	// Ways to judge a canary, side by side; no part of the product either.
	"bench/judges": tests,
	// How programs beside the product reach the admin API.
	"integrations/connect": surfaces,
	// GitHub's deployment protection rule, a program of its own.
	"integrations/protection": command,
	// The product, started for the tests of integrations with other systems.
	"integrations/live": tests,
}

// sameLayer names the arrows allowed within a layer.
var sameLayer = map[string][]string{
	"internal/oauth":      {"internal/jose"},
	"internal/statuslist": {"internal/jose"},
	"internal/epoch":      {"internal/revocation"},
	"internal/admission":  {"internal/epoch", "internal/revocation"},
	"internal/policy":     {"internal/epoch", "internal/health"},
	"internal/lint":       {"internal/policy"},
	"internal/health":     {"internal/epoch", "internal/sequential"},
	"internal/predicate":  {"internal/health", "internal/epoch"},
	"internal/receipt":    {"internal/epoch"},
	"internal/rollout":    {"internal/epoch", "internal/health", "internal/policy", "internal/revocation"},
	"internal/whatif":     {"internal/admission", "internal/epoch", "internal/policy", "internal/revocation"},
	"internal/ledger":     {"internal/auditlog"},
	"internal/projection": {"internal/ledger", "internal/bus"},
	"internal/gateway":    {"internal/upstream", "internal/verifier", "internal/usage", "internal/follower"},
	"internal/control":    {"internal/fleet"},
	"internal/authority":  {"internal/login"},
	"internal/cli":        {"testkit"},
}

// impure are the imports that pure layers (formats and decisions) do without:
// they are handed what they need. net/netip and net/url are values, not I/O.
var impure = []string{
	"os", "os/exec", "os/signal", "net", "net/http", "net/http/httputil", "database/sql", "log", "log/slog",
	"math/rand", "math/rand/v2", "crypto/rand", "syscall",
}

// clocks are the functions of package time that read a clock or wait.
var clocks = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"NewTimer": true, "NewTicker": true, "Tick": true,
}

// dataPlane decides from memory: it reaches none of outOfReach, even indirectly.
var (
	dataPlane = []string{
		"internal/gateway", "internal/verifier", "internal/usage", "internal/follower", "internal/upstream", "internal/admission", "internal/extauthz",
	}
	outOfReach = []string{module + "/internal/ledger", module + "/internal/keyring", "database/sql"}
)

// offline is the command that verifies without asking anybody: whoever audits it
// reads these packages of ours and the standard library, and no network code.
var offline = map[string]bool{
	"": true, "internal/jose": true, "internal/revocation": true, "internal/epoch": true, "internal/receipt": true,
	"cmd/mintmark-verify": true,
}

// Sizes beyond which a thing needs an entry in testdata/sizes.txt.
const (
	maxFile     = 400
	maxFunction = 80
	maxPackage  = 3000
)
