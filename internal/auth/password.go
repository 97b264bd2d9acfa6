package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/banksia-photos/banksia"
)

// The second recommended choice of RFC 9106 for Argon2id: 64 MiB, three passes.
const (
	argonPasses  = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
	argonLength  = 32
)

// hashing bounds how many hashes, and so how much memory, are computed at once.
var hashing = make(chan struct{}, max(1, runtime.NumCPU()/2))

func argon(password string, salt []byte, passes, memory uint32, threads uint8) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, passes, memory, threads, argonLength)
}

const (
	minPassword = 8
	maxPassword = 1000
)

// HashPassword returns what is kept of a password: Argon2id (RFC 9106) in the PHC
// string format. A password has 8 to 1000 characters.
func HashPassword(password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < minPassword || n > maxPassword || !utf8.ValidString(password) {
		return "", banksia.Invalid("body", "password", "must have %d to %d characters", minPassword, maxPassword)
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails, says crypto/rand
	sum := argon(password, salt, argonPasses, argonMemory, argonThreads)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)), nil
}

// nobody is compared with where there is no hash, so that the time does not tell.
const nobody = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// checkPassword tells whether a password has this hash; "" is that of nobody.
func checkPassword(hash, password string) bool {
	real := hash != ""
	if !real {
		hash = nobody
	}
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || len(password) > 4*maxPassword {
		return false
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads); err != nil || version != argon2.Version {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	return err == nil && subtle.ConstantTimeCompare(argon(password, salt, passes, memory, threads), want) == 1 && real
}

// NewPassword makes a password of 100 random bits that people can copy.
func NewPassword() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	random := make([]byte, 20)
	rand.Read(random) // never fails, says crypto/rand
	var text strings.Builder
	for i, b := range random {
		if i > 0 && i%5 == 0 {
			text.WriteByte('-')
		}
		text.WriteByte(letters[int(b)%len(letters)])
	}
	return text.String()
}

// newSecret is a random text of 256 bits.
func newSecret(prefix string) string {
	random := make([]byte, 32)
	rand.Read(random) // never fails, says crypto/rand
	return prefix + base64.RawURLEncoding.EncodeToString(random)
}
