package simulator

import (
	"fmt"
	"math"
	"net/http"
	"time"
)

// UUIDs of chatbots of the demo with something to find.
const (
	// DemoVanished is the help centre, whose widget vanished from its pages.
	DemoVanished = "4e1f0c7a9b2d4c83a5d6e7f8091a2b3c"
	// DemoWithoutLeads is the landing page, whose lead form stopped working.
	DemoWithoutLeads = "b7a6c5d4e3f2410f9e8d7c6b5a493827"
)

// Demo returns the n-th of several accounts with five chatbots, which have had sessions for seven weeks
// before start and go on:
//   - a shop with a pattern of days and weeks,
//   - a product launch that took off two days ago,
//   - a members' desk where most visitors are verified, which fails for twenty seconds
//     every five minutes,
//   - a help centre without a session for two days,
//   - a landing page without a lead for three days.
func Demo(key string, start time.Time, n int) *Account {
	seed := uint64(100 * n) // so that accounts differ
	begin := start.AddDate(0, 0, -49)
	twoDaysAgo, threeDaysAgo := start.AddDate(0, 0, -2), start.AddDate(0, 0, -3)
	shop := Arrivals{
		Seed: seed + 1, Start: begin, PerHour: weekly(daily(40, 0.8), 1.3), Lead: 0.12, Verified: 0.03,
	}
	launch := Arrivals{
		Seed: seed + 2, Start: begin, PerHour: takeOff(1200, twoDaysAgo), Lead: 0.3, Verified: 0.01,
	}
	desk := Arrivals{
		Seed: seed + 3, Start: begin, PerHour: weekly(daily(6, 0.9), 0.4), Lead: 0.05, Verified: 0.7,
	}
	help := Arrivals{
		Seed: seed + 4, Start: begin, PerHour: until(twoDaysAgo, weekly(daily(20, 0.7), 0.5)), Lead: 0.08, Verified: 0.2,
	}
	landing := Arrivals{
		Seed: seed + 5, Start: begin, PerHour: weekly(daily(15, 0.6), 0.8), Lead: 0.25, LeadsEnd: threeDaysAgo, Verified: 0.02,
	}
	account := &Account{
		Key: key,
		Chatbots: []Chatbot{
			{UUID: "7f5e5376dbf045cd8c72c60f428653d1", Name: "Shop", Sessions: shop.Sessions},
			{UUID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "Product launch", Sessions: launch.Sessions},
			{UUID: "c0ffee00c0ffee00c0ffee00c0ffee00", Name: "Members’ desk", Sessions: desk.Sessions,
				Fault: func(now time.Time) Fault {
					if now.Sub(start)%(5*time.Minute) < 280*time.Second {
						return Fault{}
					}
					return Fault{Status: http.StatusInternalServerError}
				}},
			{UUID: DemoVanished, Name: "Help centre", Sessions: help.Sessions},
			{UUID: DemoWithoutLeads, Name: "Landing page", Sessions: landing.Sessions},
		},
	}
	for i := range account.Chatbots {
		account.Chatbots[i].UUID = ofAccount(account.Chatbots[i].UUID, n)
	}
	return account
}

// ofAccount returns the UUID of a chatbot in the n-th account: that of the first account
// itself, else another one.
func ofAccount(uuid string, n int) string {
	if n == 0 {
		return uuid
	}
	const digits = 6
	return fmt.Sprintf("%0*x", digits, n) + uuid[digits:]
}

// daily returns a rate with a daily pattern around mean, in UTC: lowest at 3:00, highest
// at 15:00.
func daily(mean, swing float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		hour := float64(t.Unix()%86400) / 3600
		return mean * (1 - swing*math.Cos((hour-3)/24*2*math.Pi))
	}
}

// weekly returns a rate that is multiplied by weekend on Saturdays and Sundays, in UTC.
func weekly(rate func(time.Time) float64, weekend float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		if day := t.UTC().Weekday(); day == time.Saturday || day == time.Sunday {
			return rate(t) * weekend
		}
		return rate(t)
	}
}

// until returns a rate that falls to one in a year at end.
func until(end time.Time, rate func(time.Time) float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		if t.Before(end) {
			return rate(t)
		}
		return 1. / (365 * 24)
	}
}

// takeOff returns a rate that grows from almost 0 to top, and is half of top at middle.
func takeOff(top float64, middle time.Time) func(time.Time) float64 {
	return func(t time.Time) float64 {
		return 0.2 + top/(1+math.Exp(-t.Sub(middle).Hours()/8))
	}
}
