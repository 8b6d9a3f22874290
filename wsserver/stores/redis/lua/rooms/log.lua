-- Entries before a seq, oldest first. Arguments: the seq (empty: all), how many, of how many bytes.
local before, count, size = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

if not EPOCH then
    return {'none'}
end
local last = math.min(before and before - 1 or seq(), seq())
return ok(entries_to(last, count, size))
