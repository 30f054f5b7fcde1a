package epoch

import (
	"crypto/sha256"
	"encoding/binary"
)

// Cohorts is how many cohorts subjects fall into: a weight's unit is one of them.
const Cohorts = 10_000

// saltKey is a split's salt as an HMAC key block, and a short tag of it under
// which a cohort may be remembered.
type saltKey struct {
	block [sha256.BlockSize]byte
	tag   uint64 // 48 bits, never 0
}

func newSaltKey(salt string) saltKey {
	var k saltKey
	if len(salt) > len(k.block) {
		sum := sha256.Sum256([]byte(salt))
		copy(k.block[:], sum[:])
	} else {
		copy(k.block[:], salt)
	}
	sum := sha256.Sum256([]byte("mintmark-salt-tag\n" + salt))
	k.tag = binary.BigEndian.Uint64(sum[:8])>>16 | 1
	return k
}

// key is HMAC-SHA-256(salt, subject), first 8 bytes big-endian (RFC 2104, spelled
// out so that subjects of usual length cost no allocation).
func key[T ~string | ~[]byte](k *saltKey, subject T) uint64 {
	var inner [sha256.BlockSize + 192]byte
	for i, b := range k.block {
		inner[i] = b ^ 0x36
	}
	var sum [sha256.Size]byte
	if len(subject) <= 192 {
		sum = sha256.Sum256(inner[:sha256.BlockSize+copy(inner[sha256.BlockSize:], subject)])
	} else {
		sum = sha256.Sum256(append(inner[:sha256.BlockSize:sha256.BlockSize], subject...))
	}
	var outer [sha256.BlockSize + sha256.Size]byte
	for i, b := range k.block {
		outer[i] = b ^ 0x5c
	}
	copy(outer[sha256.BlockSize:], sum[:])
	sum = sha256.Sum256(outer[:])
	return binary.BigEndian.Uint64(sum[:8])
}

func cohort[T ~string | ~[]byte](k *saltKey, subject T) uint16 { return CohortOfKey(key(k, subject)) }

// CohortOfKey returns the cohort of a subject by its key.
func CohortOfKey(key uint64) uint16 { return uint16(key % Cohorts) }

// Key names a subject under this service's salt in 64 bits, without saying who it
// is; its cohort follows from it. It changes with the salt only.
func (s *ServiceEntry) Key(subject string) uint64 { return key(&s.salt, subject) }

// KeyOf is Key for bytes, as of an address.
func (s *ServiceEntry) KeyOf(subject []byte) uint64 { return key(&s.salt, subject) }

// Cohort returns the cohort, 0 to 9,999, that a subject is in for this service's
// salt. It is sticky: it changes with the salt only.
func (s *ServiceEntry) Cohort(subject string) uint16 { return cohort(&s.salt, subject) }

// CohortOf is Cohort for bytes, as of an address.
func (s *ServiceEntry) CohortOf(subject []byte) uint16 { return cohort(&s.salt, subject) }

// SaltTag names the salt in 48 bits, never 0: a cohort may be remembered with it.
func (s *ServiceEntry) SaltTag() uint64 { return s.salt.tag }

// ArmOf returns the release for a cohort. Cohorts are nested as the weight grows.
func (s *ServiceEntry) ArmOf(cohort uint16) *ReleaseEntry {
	if s.Candidate != nil && int(cohort) < s.Split.Weight {
		return s.Candidate
	}
	return s.Stable
}

// Arm returns the release that serves and mints for a subject (without one, the
// client): the candidate for members of its cohort, else the stable one.
func (s *ServiceEntry) Arm(subject string) *ReleaseEntry {
	if s.Candidate == nil || s.Split.Weight == 0 {
		return s.Stable
	}
	return s.ArmOf(s.Cohort(subject))
}
