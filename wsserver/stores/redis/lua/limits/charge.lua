-- ARGV: 1 tokens a minute, 2 tokens that were used
local interval = meter_of(ARGV[1])
if interval > 0 then
    local now = now_seconds()
    keep(TOKENS, rested_at(TOKENS, now) + ARGV[2] * interval, now)
end
return 0
