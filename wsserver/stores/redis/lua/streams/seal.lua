-- ARGV: 1 fence, 2 writer, 3 total, 4 ending, 5 publish
-- How it ends is decided, and what it says is whole. Noted as an end that was asked for, whatever
-- was asked before: so nobody claims it any more, and whoever is given its job ends it like this.
local no = refusal(standing(), ARGV[1], ARGV[2])
if no then
    return no
end
local length = redis.call('STRLEN', TEXT)
if length ~= tonumber(ARGV[3]) then
    return {'short', length, '', 0}
end
redis.call('HSET', META, 'cancel', ARGV[4])
return {'ok', length, '', 0}
