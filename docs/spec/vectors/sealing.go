// Makes the "messages" of sealing.json with Go's crypto/hpke (Go 1.26 or later): go run sealing.go
package main

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
)

type V struct {
	SecretKey string `json:"secret_key"`
	PublicKey string `json:"public_key"`
	Info      string `json:"info"`
	Aad       string `json:"aad"`
	Plaintext string `json:"plaintext"`
	Sealed    string `json:"sealed"`
}

func main() {
	kem := hpke.MLKEM768X25519()
	var vs []V
	for i, t := range []struct{ info, aad, pt string }{
		{"strongroom secrets 1", "", "the secrets of a cluster"},
		{"strongroom rotation 1", "epoch 2", "a longer part: the keys of one epoch, sealed to one member"},
		{"", "", ""},
	} {
		seed := sha256.Sum256([]byte{byte(i)})
		sk, err := kem.NewPrivateKey(seed[:])
		if err != nil {
			panic(err)
		}
		enc, s, err := hpke.NewSender(sk.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(t.info))
		if err != nil {
			panic(err)
		}
		ct, err := s.Seal([]byte(t.aad), []byte(t.pt))
		if err != nil {
			panic(err)
		}
		h := hex.EncodeToString
		vs = append(vs, V{h(seed[:]), h(sk.PublicKey().Bytes()), h([]byte(t.info)), h([]byte(t.aad)), h([]byte(t.pt)), "01" + h(enc) + h(ct)})
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	e.Encode(map[string]any{"messages": vs})
}
