-- Put before every script of the queue. The order itself: who is next, and what changes it.
-- The same arithmetic as core/fairness.py, to the last bit: tests compare the two.
local WAITING, LINE, OWNERS, ACTIVE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local JOBS, NOTES, LEASES, COUNTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8]

local OWNER, RANK = 32, 10 -- characters of an owner's digest, and of a priority as it is sorted
local TYPICAL_COST = 512
local EXACT = 64 -- see place_of
-- Longer than anything waits: what is left when a model never comes back ends by itself.
local KEPT_MS = 86400000

local function keep()
    for index = 1, 8 do
        redis.call('PEXPIRE', KEYS[index], KEPT_MS)
    end
end

local function exact(number)
    return string.format('%.17g', number)
end

-- Text that sorts as its number does.
local function sortable_integer(number)
    return string.format('%016.0f', number + 1e15)
end

local function sortable_float(number)
    local bytes = struct.pack('>d', number + 0) -- + 0 makes one zero of both
    if number >= 0 then
        return string.char(bytes:byte(1) + 128) .. bytes:sub(2)
    end
    return (bytes:gsub('.', function(byte) return string.char(255 - byte:byte()) end))
end

local function rank(priority)
    return string.format('%010.0f', 1e9 - priority)
end

-- Waiting jobs: owner, rank, arrival, streamId; in this order, which is each owner's own.
local function head(owner)
    local range = {'[' .. owner, '(' .. owner .. '\255'}
    return redis.call('ZRANGEBYLEX', WAITING, range[1], range[2], 'LIMIT', 0, 1)[1]
end

local function stream_of(member)
    return member:sub(OWNER + RANK + 17)
end

local function owner_of(line_member)
    return line_member:sub(-OWNER)
end

local function note_of(stream)
    local packed = redis.call('HGET', NOTES, stream)
    return packed and cmsgpack.unpack(packed)
end

local function keep_note(stream, note)
    redis.call('HSET', NOTES, stream, cmsgpack.pack(note))
end

local function row_of(owner)
    local packed = redis.call('HGET', OWNERS, owner)
    return packed and cmsgpack.unpack(packed)
end

-- Writes an owner's row, and where it stands among those who wait and those who are active.
local function settle(owner, row)
    if row.line ~= '' then
        redis.call('ZREM', LINE, row.line)
    end
    local first = head(owner)
    row.line = ''
    if first then
        local place = first:sub(OWNER + 1, OWNER + RANK) .. sortable_float(row.counter)
        row.line = place .. sortable_integer(row.turn) .. sortable_integer(row.number) .. owner
        redis.call('ZADD', LINE, 0, row.line)
    end
    if first or row.running > 0 then
        redis.call('ZADD', ACTIVE, exact(row.counter), owner)
    else
        redis.call('ZREM', ACTIVE, owner)
    end
    redis.call('HSET', OWNERS, owner, cmsgpack.pack(row))
end

local function least_active()
    local first = redis.call('ZRANGE', ACTIVE, 0, 0, 'WITHSCORES')
    return tonumber(first[2] or 0)
end

local function new_row(counter)
    local number = redis.call('HINCRBY', COUNTS, 'owners', 1)
    return {counter = counter, turn = 0, number = number, running = 0, line = ''}
end

local function new_note(owner, priority, estimate)
    return {
        owner = owner,
        priority = tonumber(priority),
        estimate = tonumber(estimate),
        claims = 0, -- by runners, but for those whose engine died
        claim = '', -- the present one's name; none while it waits
        is_running = false, -- counts as running for its owner
    }
end

-- Adds a job; ahead of its owner's others if it had begun before.
local function add(stream, note, is_front)
    local owner = note.owner
    local row = row_of(owner)
    if not row or not redis.call('ZSCORE', ACTIVE, owner) then
        local floor = least_active()
        row = row or new_row(0)
        row.counter = math.max(row.counter, floor)
    end
    local arrival = redis.call('HINCRBY', COUNTS, 'arrivals', 1)
    if is_front then
        arrival = -arrival
    end
    note.member = owner .. rank(note.priority) .. sortable_integer(arrival) .. stream
    note.claim = ''
    redis.call('ZADD', WAITING, 0, note.member)
    keep_note(stream, note)
    settle(owner, row)
end

-- Slots in use, as the claims say that take and leave them: known before any worker tells of it.
local function count_running(change)
    redis.call('HINCRBY', COUNTS, 'running', change)
end

local function free_slots(slots)
    local running = tonumber(redis.call('HGET', COUNTS, 'running') or 0)
    return math.max(0, slots - running)
end

-- Drops owners whose counters say nothing any more (see FairQueue._forget).
local function forget_owners()
    local active = redis.call('ZCARD', ACTIVE)
    if active == 0 then
        redis.call('DEL', OWNERS, COUNTS)
    elseif redis.call('HLEN', OWNERS) > 2 * active + 16 then
        local floor, rows = least_active(), redis.call('HGETALL', OWNERS)
        for index = 1, #rows, 2 do
            local is_active = redis.call('ZSCORE', ACTIVE, rows[index])
            if not is_active and cmsgpack.unpack(rows[index + 1]).counter <= floor then
                redis.call('HDEL', OWNERS, rows[index])
            end
        end
    end
end

-- A job counts as running for its owner no more.
local function leave_slot(note)
    if note.is_running then
        note.is_running = false
        local row = row_of(note.owner)
        row.running = row.running - 1
        count_running(-1)
        settle(note.owner, row)
        forget_owners()
    end
end

-- Puts a claimed job back at the head; then only, so that its owner stays active, it leaves its slot.
local function put_back(stream, note)
    local was_running = note.is_running
    note.is_running = false
    redis.call('ZREM', LEASES, stream)
    add(stream, note, true)
    note.is_running = was_running
    leave_slot(note)
end

-- Hands a waiting or given up job to someone who will end it: not counted as running.
local function hand_over(stream, note, claim, lease_ms)
    if note.claim == '' then
        redis.call('ZREM', WAITING, note.member)
        settle(note.owner, row_of(note.owner))
    end
    note.claim = claim
    keep_note(stream, note)
    redis.call('ZADD', LEASES, now_ms() + lease_ms, stream)
end

local function drop(stream)
    redis.call('ZREM', LEASES, stream)
    redis.call('HDEL', NOTES, stream)
    redis.call('HDEL', JOBS, stream)
end

-- Doorbells: a job waits; the line has moved.
local function ring_work()
    ring(ARGV[1] .. ':work', '')
end

local function ring_places()
    ring(ARGV[1] .. ':places', '')
end

-- How many of an owner's jobs of one priority come before a counter, the first of them being the
-- number `from` of all his. Guessed by division, then set right: rounding must not decide.
local function count_before(row, from, count, is_before)
    local guess = math.floor((is_before.counter - row.counter) / TYPICAL_COST) - from
    local taken = math.max(0, math.min(count, guess))
    while taken < count and is_before.test(row, from + taken) do
        taken = taken + 1
    end
    while taken > 0 and not is_before.test(row, from + taken - 1) do
        taken = taken - 1
    end
    return taken
end

-- The place of a waiting job in the order in which all would be served if all cost the same.
-- Exact as long as not more than EXACT owners stand before it; of those beyond only the first job
-- is counted, since this runs for every job that comes and Redis has one thread for all.
local function place_of(stream, note)
    local owner, mine = note.owner, row_of(note.owner)
    local my_rank = rank(note.priority)
    local ahead = redis.call('ZLEXCOUNT', WAITING, '[' .. owner, '(' .. note.member)
    local counter, place = mine.counter + ahead * TYPICAL_COST, ahead + 1
    local before = {counter = counter}
    function before.test(row, index)
        local other = row.counter + index * TYPICAL_COST
        if other ~= counter then
            return other < counter
        end
        return row.turn < mine.turn or (row.turn == mine.turn and row.number < mine.number)
    end
    local stand = my_rank .. sortable_float(counter) .. sortable_integer(mine.turn)
    stand = stand .. sortable_integer(mine.number)
    local standing = redis.call('ZLEXCOUNT', LINE, '-', '(' .. stand)
    local some = redis.call('ZRANGE', LINE, 0, EXACT - 1)
    for index = 1, math.min(standing, #some) do
        local other = owner_of(some[index])
        if other ~= owner then
            local prefix = other .. my_rank
            local higher = redis.call('ZLEXCOUNT', WAITING, '[' .. other, '(' .. prefix)
            local same = redis.call('ZLEXCOUNT', WAITING, '[' .. prefix, '(' .. prefix .. '\255')
            place = place + higher + count_before(row_of(other), higher, same, before)
        end
    end
    return place + math.max(0, standing - EXACT)
end

-- Which of some arguments, each a streamId, nothing is known of.
local function unknown_of(first, last)
    local unknown = {}
    for index = first, last do
        if redis.call('HEXISTS', NOTES, ARGV[index]) == 0 then
            unknown[#unknown + 1] = ARGV[index]
        end
    end
    return unknown
end
