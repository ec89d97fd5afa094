/* Readers never pass the end and remember that they would have; buffers never pass their maximum.
 */
#include "bytes.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void numbers(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct reader r = reader_of(data, sizeof(data));

	assert_int_equal(read_u8(&r), 1);
	assert_int_equal(read_u16(&r), 0x0302);
	assert_int_equal(read_u32(&r), 0x07060504);
	assert_true(read_u64(&r) == 0x0f0e0d0c0b0a0908ull);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.bad);
	r = reader_of(data, sizeof(data));
	assert_int_equal(read_u16be(&r), 0x0102);
	assert_int_equal(read_u32be(&r), 0x03040506);
	assert_true(read_u64be(&r) == 0x0708090a0b0c0d0eull);
	assert_int_equal(reader_left(&r), 1);
}

static void past_the_end(void **state)
{
	struct reader r = reader_of("\1\2\3", 3);

	assert_int_equal(read_u16(&r), 0x0201);
	assert_int_equal(read_u32(&r), 0);
	assert_true(r.bad);
	assert_int_equal(reader_left(&r), 0);
	/* bad for good: the byte that is left is not given either */
	assert_int_equal(read_u8(&r), 0);
	assert_null(read_bytes(&r, 0));
	r = reader_of("abc", 3);
	assert_null(read_bytes(&r, SIZE_MAX));
	assert_true(r.bad);
	r = reader_of(NULL, 0);
	assert_int_equal(read_u64be(&r), 0);
	assert_true(r.bad);
}

static void strings(void **state)
{
	struct reader r = reader_of("ab\0\0cd", 6);

	assert_string_equal(read_str(&r), "ab");
	assert_string_equal(read_str(&r), "");
	assert_null(read_str(&r)); /* "cd" has no end */
	assert_true(r.bad);
	r = reader_of("x", 0);
	assert_null(read_str(&r));
}

static void buffer_grows_to_its_maximum(void **state)
{
	struct buf b;

	buf_init(&b, 10);
	assert_string_equal(buf_str(&b), "");
	assert_true(buf_add_str(&b, "12345"));
	assert_true(buf_addf(&b, "%d", 67890));
	assert_string_equal(buf_str(&b), "1234567890");
	assert_true(buf_add(&b, "", 0));
	assert_false(buf_add_u8(&b, 'x'));
	assert_true(b.full);
	assert_int_equal(b.len, 10);
	/* full for good, even with room again: a truncated message must never look whole */
	buf_consume(&b, 4);
	assert_string_equal(buf_str(&b), "567890");
	assert_false(buf_add_u8(&b, 'x'));
	buf_consume(&b, 100);
	assert_int_equal(b.len, 0);
	buf_done(&b);
	assert_null(b.data);
}

static void reserve_refuses_overflow(void **state)
{
	struct buf b;

	buf_init(&b, SIZE_MAX - 1);
	assert_true(buf_add_u64(&b, 1));
	assert_null(buf_reserve(&b, SIZE_MAX - 2));
	buf_done(&b);
}

static void what_is_written_is_read(void **state)
{
	struct buf b;
	struct reader r;

	buf_init(&b, 64);
	buf_add_u8(&b, 0xfe);
	buf_add_u16(&b, 0xfedc);
	buf_add_u32(&b, 0xfedcba98);
	buf_add_u64(&b, 0xfedcba9876543210ull);
	r = reader_of(b.data, b.len);
	assert_int_equal(read_u8(&r), 0xfe);
	assert_int_equal(read_u16(&r), 0xfedc);
	assert_true(read_u32(&r) == 0xfedcba98u);
	assert_true(read_u64(&r) == 0xfedcba9876543210ull);
	assert_false(r.bad);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(past_the_end),
		cmocka_unit_test(strings),
		cmocka_unit_test(buffer_grows_to_its_maximum),
		cmocka_unit_test(reserve_refuses_overflow),
		cmocka_unit_test(what_is_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
