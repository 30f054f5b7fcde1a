package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"strconv"
)

// maxJWK caps one key's text.
const maxJWK = 64 << 10

// jwk holds the members of a JSON Web Key that mean something to us.
type jwk struct {
	kty, kid, alg, use, crv, n, e, x, y string
	ops                                 []string
	private                             bool
}

// ParseKey reads a public JSON Web Key (RFC 7517, RFC 7518 §6, RFC 8037 §2) for
// the algorithm named. With alg "" the key's own "alg" counts and, when it has
// none, the one its type implies: RS256, the curve's ES*, EdDSA. An alg that
// contradicts the key's, a "use" but sig, "key_ops" without verify, private
// members, weak or malformed keys are refused.
func ParseKey(text []byte, alg string) (*Key, error) {
	if len(text) > maxJWK {
		return nil, &refusal{ErrTooLarge, "JWK"}
	}
	j, err := readJWK(string(text))
	if err != nil {
		return nil, err
	}
	return j.key(alg)
}

func readJWK(text string) (j jwk, err error) {
	s := Scan(text)
	for s.Next() {
		v := s.Value()
		switch s.Name() {
		case "kty":
			j.kty, err = member(v, err)
		case "kid":
			j.kid, err = member(v, err)
		case "alg":
			j.alg, err = member(v, err)
		case "use":
			j.use, err = member(v, err)
		case "crv":
			j.crv, err = member(v, err)
		case "n":
			j.n, err = member(v, err)
		case "e":
			j.e, err = member(v, err)
		case "x":
			j.x, err = member(v, err)
		case "y":
			j.y, err = member(v, err)
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
			j.private = true
		case "key_ops":
			if v.Kind() != Array && err == nil {
				err = unusable("key_ops is not an array")
			}
			j.ops = []string{}
			for e := range v.Elements {
				op, _ := e.Str()
				j.ops = append(j.ops, op)
			}
		}
	}
	if s.Err() != nil {
		return j, s.Err()
	}
	return j, err
}

func member(v Value, earlier error) (string, error) {
	text, ok := v.Str()
	if earlier == nil && (!ok || hasControl(text)) {
		earlier = unusable("a member is not plain text")
	}
	return text, earlier
}

// signing reports whether the key is meant for signatures at all.
func (j *jwk) signing() bool {
	if j.use != "" && j.use != "sig" {
		return false
	}
	if j.ops == nil {
		return true
	}
	for _, op := range j.ops {
		if op == "verify" {
			return true
		}
	}
	return false
}

func (j *jwk) key(alg string) (*Key, error) {
	switch {
	case j.private:
		return nil, unusable("the JWK holds private or secret members")
	case !j.signing():
		return nil, unusable("the JWK's use or key_ops excludes verifying")
	case alg == "":
		alg = j.alg
	case j.alg != "" && ParseAlgorithm(j.alg) != ParseAlgorithm(alg):
		return nil, unusable("the JWK's alg is not the one it is to be used with")
	}
	if alg == "" {
		alg = j.implied()
	}
	k := &Key{id: j.kid, alg: ParseAlgorithm(alg)}
	if err := j.public(k); err != nil {
		return nil, err
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return k, k.describe()
}

func (j *jwk) implied() string {
	switch {
	case j.kty == "RSA":
		return "RS256"
	case j.kty == "OKP":
		return "EdDSA"
	case j.crv == "P-256":
		return "ES256"
	case j.crv == "P-384":
		return "ES384"
	case j.crv == "P-521":
		return "ES512"
	}
	return ""
}

func (j *jwk) public(k *Key) error {
	switch j.kty {
	case "RSA":
		n, errN := Decode(j.n)
		e, errE := Decode(j.e)
		// Some publishers prefix n with a zero byte against RFC 7518 §6.3.1.1; the
		// number is the same and the thumbprint is taken over the number.
		if errN != nil || errE != nil || len(n) == 0 || len(e) == 0 || len(e) > 4 || len(n) > maxRSABits/8+1 {
			return unusable("RSA members n and e are missing or malformed")
		}
		exponent := new(big.Int).SetBytes(e).Int64()
		if exponent > 1<<31-1 {
			return unusable("RSA exponent is too large")
		}
		k.rsa = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}
	case "EC":
		curve := map[string]Algorithm{"P-256": ES256, "P-384": ES384, "P-521": ES512}[j.crv].curve()
		x, errX := Decode(j.x)
		y, errY := Decode(j.y)
		if curve == nil || errX != nil || errY != nil || len(x) != coordinate(curve) || len(y) != coordinate(curve) {
			return unusable("EC members crv, x and y are missing or malformed")
		}
		point := append(append([]byte{4}, x...), y...)
		public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return unusable("EC point is not on its curve")
		}
		k.ec = public
	case "OKP":
		x, err := Decode(j.x)
		if j.crv != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
			return unusable("OKP members crv and x are missing or malformed; only Ed25519 is used")
		}
		k.ed = x
	default:
		return unusable("key type is not RSA, EC or OKP")
	}
	return nil
}

// describe computes the thumbprint (RFC 7638 §3.2: required members in
// lexicographic order) and the text of the public key.
func (k *Key) describe() error {
	required, err := k.required()
	if err != nil {
		return err
	}
	k.print = sha256.Sum256([]byte("{" + required + "}"))
	k.jwk = k.public()
	return nil
}

func (k *Key) required() (string, error) {
	switch {
	case k.rsa != nil:
		e := big.NewInt(int64(k.rsa.E)).Bytes()
		return `"e":"` + Encode(e) + `","kty":"RSA","n":"` + Encode(k.rsa.N.Bytes()) + `"`, nil
	case k.ec != nil:
		point, err := k.ec.Bytes()
		if err != nil {
			return "", unusable("EC point is not on its curve")
		}
		size := coordinate(k.ec.Curve)
		return `"crv":"` + k.ec.Curve.Params().Name + `","kty":"EC","x":"` + Encode(point[1:1+size]) + `","y":"` + Encode(point[1+size:]) + `"`, nil
	}
	return `"crv":"Ed25519","kty":"OKP","x":"` + Encode(k.ed) + `"`, nil
}

func (k *Key) public() string {
	required, _ := k.required()
	text := `{"alg":"` + k.alg.String() + `",` + required
	if k.id != "" {
		text += `,"kid":` + quote(k.id)
	}
	return text + `,"use":"sig"}`
}

// JWK returns the public key as canonical JSON: alg, the required members, kid,
// use.
func (k *Key) JWK() []byte { return []byte(k.jwk) }

// Thumbprint returns the base64url SHA-256 thumbprint (RFC 7638); it does not
// depend on kid or alg.
func (k *Key) Thumbprint() string { return Encode(k.print[:]) }

// quote returns s as a JSON string. What is not printable ASCII is escaped.
func quote(s string) string {
	b := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return string(append(b, '"'))
}

// describeIndex names a key in a message to people: its kid, or its position.
func describeIndex(kid string, i int) string {
	if kid != "" {
		return strconv.QuoteToASCII(kid)
	}
	return "#" + strconv.Itoa(i)
}
