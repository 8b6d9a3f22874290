-- What all steps on an answer share. Which keys and fields there are is told in stream_format.py.
-- All are given but to most appends, which come with the first two.
local META, TEXT, LOGPROBS, VIEWERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHANNEL = 'wsserver:b:' .. string.match(META, '{.*}')
local WRITER_CHANNEL = CHANNEL .. ':w'

-- Milliseconds that an answer is kept without a sign of life, and between two of these.
local LIVING_TTL, TTL_STEP = 3600000, 60000

local function field(name)
    return redis.call('HGET', META, name)
end

local function keep_for(milliseconds)
    for _, key in ipairs(KEYS) do
        redis.call('PEXPIRE', key, milliseconds)
    end
end

local function keep_alive()
    local now = now_ms()
    if now >= tonumber(field('alive') or 0) then
        redis.call('HSET', META, 'alive', now + TTL_STEP)
        keep_for(LIVING_TTL)
    end
end

-- Another writer than before, or none: everything of the one before is refused from now on.
local function raise_fence(writer, state)
    local fence, base = redis.call('HINCRBY', META, 'fence', 1), redis.call('STRLEN', TEXT)
    local claims = field('claims')
    local claim = writer .. ':' .. base
    if claims ~= '' then
        claim = claims .. ',' .. claim
    end
    redis.call('HSET', META, 'claims', claim, 'writer', writer, 'state', state)
    local bell = 'C|' .. fence .. '|' .. base .. '|' .. state .. '|' .. writer
    ring(CHANNEL, bell)
    ring(WRITER_CHANNEL, bell)
    return fence
end

-- What a writer must know, in one asking: each append needs all of it.
local function standing()
    return redis.call('HMGET', META, 'fence', 'writer', 'state', 'cancel', 'asked', 'alive')
end

-- Its asker is there: believed for so long at most, if the answer does not go on without him.
local function believe(most)
    local lease = tonumber(field('lease') or nil)
    if lease then
        redis.call('HSET', META, 'asked', string.format('%.0f', now_ms() + math.min(lease, most)))
    end
end

-- Nothing if this writer may write, else the reason why it may not.
local function refusal(at, fence, writer)
    if not at[1] then
        return {'gone'}
    end
    if tonumber(at[1]) < tonumber(fence) then
        return {'behind'}  -- this claim was lost here
    end
    if at[1] ~= fence or at[2] ~= writer or at[3] ~= 'running' then
        return {'fenced'}
    end
end

-- An asker who is gone, or of whom no process has said for long that he is there; and nobody who
-- looks in a process that lives.
local function is_orphan()
    local asked = field('asked')
    if not asked or tonumber(asked) > now_ms() then
        return 0
    end
    redis.call('ZREMRANGEBYSCORE', VIEWERS, '-inf', now_ms())
    return redis.call('ZCARD', VIEWERS) == 0 and 1 or 0
end

-- Log probabilities of text that is no more.
local function cut_logprobs(length)
    while true do
        local last = redis.call('LINDEX', LOGPROBS, -1)
        if not last or tonumber(string.match(last, '^%d+')) <= length then
            return
        end
        redis.call('RPOP', LOGPROBS)
    end
end

-- Add text at an offset; what is there already is skipped. Nothing if it would leave a hole.
local function add_text(fence, offset, data, tokens, logprobs)
    local length = redis.call('STRLEN', TEXT)
    local known = length - offset
    if known < 0 then
        return nil
    end
    if known >= #data then
        return length
    end
    data = string.sub(data, known + 1)
    redis.call('APPEND', TEXT, data)
    redis.call('HSET', META, 'tokens', tokens)
    if logprobs ~= '' then
        cut_logprobs(length)
        local entry = (length + #data) .. '|' .. logprobs
        if redis.call('RPUSH', LOGPROBS, entry) == 1 then
            redis.call('PEXPIRE', LOGPROBS, LIVING_TTL)
        end
    end
    if length == 0 then
        keep_for(LIVING_TTL)
    end
    local head = 'A|' .. fence .. '|' .. length .. '|' .. tokens .. '|' .. #logprobs .. '|'
    ring(CHANNEL, head .. logprobs .. data)
    return length + #data
end

local function end_here(ending, retention)
    redis.call('HSET', META, 'state', 'ended', 'ending', ending)
    local fence, total = field('fence'), redis.call('STRLEN', TEXT)
    if total > 0 then  -- a string that grew has room for as much again: it is given back
        redis.call('SET', TEXT, redis.call('GET', TEXT))
    end
    keep_for(retention)
    ring(CHANNEL, 'E|' .. fence .. '|' .. total .. '|' .. ending)
end
