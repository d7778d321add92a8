package fetch_test

import (
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// A UUID finds its chatbot in either spelling, wherever it is on the list, and in
// the spelling of the list.
func TestConfigured(t *testing.T) {
	const otherUUID = "7f5e5376dbf045cd8c72c60f428653d3"
	shop, desk := client.Chatbot{UUID: shopUUID, Name: "Shop"}, client.Chatbot{UUID: deskUUID, Name: "Desk"}
	dashed := func(uuid string) string {
		return strings.ToUpper(uuid[:8] + "-" + uuid[8:12] + "-" + uuid[12:16] + "-" + uuid[16:20] + "-" + uuid[20:])
	}
	bare := func(uuid string) string { return strings.ToLower(strings.ReplaceAll(uuid, "-", "")) }
	tests := map[string]struct {
		uuid string
		want client.Chatbot // none: not found
	}{
		"first":                  {shopUUID, shop},
		"first, other spelling":  {dashed(shopUUID), shop},
		"second":                 {deskUUID, desk},
		"second, other spelling": {bare(deskUUID), desk},
		"third, spelled as both": {otherUUID[:31] + "4", client.Chatbot{UUID: dashed(otherUUID[:31] + "4")}},
		"another":                {otherUUID, client.Chatbot{}},
		"another, dashed":        {dashed(otherUUID), client.Chatbot{}},
		"part of one":            {shopUUID[:31], client.Chatbot{}},
		"none":                   {"", client.Chatbot{}},
	}
	chatbots := fetch.Configured{shop, desk, {UUID: dashed(otherUUID[:31] + "4")}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := chatbots.Chatbot(t.Context(), test.uuid)
			if got != test.want || (ok == fetch.Listed) != (test.want != client.Chatbot{}) {
				t.Errorf("got %+v, %v, want %+v", got, ok, test.want)
			}
		})
	}
	if got, ok := (fetch.Configured{}).Chatbot(t.Context(), shopUUID); ok != fetch.Unlisted {
		t.Errorf("on an empty list: got %+v", got)
	}
}
