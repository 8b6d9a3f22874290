-- ARGV: 1 fence, 2 writer, 3 offset, 4 data, 5 tokens with it, 6 log probabilities, 7 publish.
-- KEYS: all with log probabilities, or after the last reply wanted them; else the first two: names
-- are longer than most pieces of text. The reply is the text's length if there is no more to say.
-- Else its last is 1 when nobody wants it, 2 for all keys next time.
local at = standing()
local no = refusal(at, ARGV[1], ARGV[2])
if no then
    return no
end
local length = add_text(ARGV[1], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6])
local verdict = length and 'ok' or 'short'
local wish = 0
if VIEWERS then
    keep_alive()
    wish = is_orphan()
else
    local now = now_ms()
    if now >= tonumber(at[5] or now + 1) or now >= tonumber(at[6] or 0) then
        wish = 2
    end
end
if length and wish == 0 and not at[4] then
    return length
end
return {verdict, length or redis.call('STRLEN', TEXT), at[4] or '', wish}
