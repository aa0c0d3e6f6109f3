"""Tests of NumPy that pass with plain arrays only, and why that is right.

Strict: what is listed and does not differ is reported, so that it is taken out. A test without parameters in brackets
stands for all of its parameters, a class for all of its tests, of which one at least has to differ. Tests that a
version of NumPy has not are none of that version's business.
"""

import typing


class Group(typing.NamedTuple):
    reason: str
    tests: tuple  # of str
    version: str = ""  # how NumPy's version starts to which this applies


DIFFERENCES = (
    Group(
        "The memory is the shelf's: flags.owndata is false, sys.getsizeof() counts none of it, resize() refuses",
        (
            "core/test_multiarray.py::TestArrayCreationCopyArgument::test_compatible_cast",
            "core/test_multiarray.py::TestArrayCreationCopyArgument::test_order_mismatch",
            "core/test_multiarray.py::TestFlags::test_otherflags",
            "core/test_multiarray.py::TestMethods::test_ravel",
            "core/test_multiarray.py::TestNewBufferProtocol::test_max_dims",
            "core/test_multiarray.py::TestNewBufferProtocol::test_padded_struct_array",
            "core/test_multiarray.py::TestNewBufferProtocol::test_padding",
            "core/test_multiarray.py::TestNewBufferProtocol::test_roundtrip",
            "core/test_multiarray.py::TestNewBufferProtocol::test_roundtrip_half",
            "core/test_multiarray.py::TestNewBufferProtocol::test_roundtrip_scalar",
            "core/test_multiarray.py::TestNewBufferProtocol::test_roundtrip_single_types",
            "core/test_multiarray.py::TestResize::test_basic",
            "core/test_multiarray.py::TestResize::test_freeform_shape",
            "core/test_multiarray.py::TestResize::test_int_shape",
            "core/test_multiarray.py::TestResize::test_zeros_appended",
            "core/test_multiarray.py::TestSizeOf::test_array_float32",
            "core/test_multiarray.py::TestSizeOf::test_array_float64",
            "core/test_multiarray.py::TestSizeOf::test_array_int32",
            "core/test_multiarray.py::TestSizeOf::test_array_int64",
            "core/test_multiarray.py::TestSizeOf::test_resize",
            "core/test_multiarray.py::TestSizeOf::test_resize_structured",
            "core/test_multiarray.py::TestSizeOf::test_view",
            "core/test_numeric.py::TestClip::test_clip_complex",
            "core/test_numeric.py::TestClip::test_clip_with_out_array_int32",
            "core/test_numeric.py::TestClip::test_clip_with_out_array_outint32",
            "core/test_numeric.py::TestClip::test_clip_with_out_simple2",
            "core/test_numeric.py::TestClip::test_clip_with_out_simple_int32",
            "core/test_numeric.py::TestClip::test_simple_int32_inout",
            "core/test_numeric.py::TestClip::test_simple_int32_out",
            "core/test_numeric.py::TestClip::test_simple_int64_inout",
            "core/test_numeric.py::TestClip::test_simple_int64_out",
        ),
    ),
    Group(
        "Views have other objects as their base than NumPy's own, which keep the shelf's memory as well",
        (
            "core/test_einsum.py::TestEinsum::test_einsum_views",
            "core/test_multiarray.py::TestArrayCreationCopyArgument::test_array_interfaces",
            "core/test_multiarray.py::TestStructured::test_base_attr",
        ),
    ),
    Group(
        "The class is not numpy.ndarray but a subclass: the test asks for the one itself, or evaluates its repr()",
        (
            "core/test_indexing.py::TestIndexing::test_void_scalar_empty_tuple",
            "core/test_multiarray.py::TestStructured::test_zero_width_string",
            "core/test_multiarray.py::TestSubscripting::test_test_zero_rank",
            "core/test_multiarray.py::TestZeroRank::test_real_imag",
            "core/test_nditer.py::test_iter_allocate_output_subtype",
            "core/test_nditer.py::test_iter_too_large_with_multiindex",
            "core/test_records.py::TestFromrecords::test_recarray_from_repr",
            "core/test_records.py::TestFromrecords::test_recarray_views",
            "core/test_ufunc.py::TestUfunc::test_array_wrap_array_priority",
            "core/test_umath.py::TestSpecialMethods::test_ufunc_override_where",
            "lib/test_arraysetops.py::TestUnique::test_unique_1d",
            "lib/test_arraysetops.py::TestUnique::test_unique_zero_sized",
            "lib/test_nanfunctions.py::test__nan_mask",
            "lib/test_stride_tricks.py::test_subclasses",
            "linalg/test_linalg.py::TestQR::test_qr_empty",
            "matrixlib/test_interaction.py::test_array_equal_error_message_matrix",
        ),
    ),
    Group(
        "array() and asarray() make a plain view of any subclass: not the same object",
        (
            "core/test_array_coercion.py::TestAsArray::test_dtype_identity",
            "core/test_multiarray.py::TestArrayCreationCopyArgument::test___array__",
            "core/test_multiarray.py::TestArrayCreationCopyArgument::test___array__copy_arg",
            "core/test_multiarray.py::TestArrayCreationCopyArgument::test___array__copy_once",
        ),
    ),
    Group(
        "Operators and ufuncs are done on plain views, so that who overrides them, too, is asked about these; and "
        "NumPy does not tell of `out=...` who overrides ufuncs",
        (
            "core/test_multiarray.py::TestBinop::test_ufunc_binop_interaction",
            "core/test_ufunc.py::TestUfunc::test_output_ellipsis",
            "core/test_umath.py::TestSpecialMethods::test_ufunc_override_with_super",
            "lib/test_function_base.py::TestLerp::test_linear_interpolation_formula_0d_inputs",
        ),
    ),
    Group(
        "Shape and strides of the array that stands for a variable are changed by assignment to the variable",
        (
            "core/test_multiarray.py::TestAttributes::test_set_stridesattr",
            "ma/test_core.py::TestMaskedArrayArithmetic::test_addsumprod",
            "ma/test_core.py::TestMaskedArrayFunctions::test_compress",
            "matrixlib/test_defmatrix.py::TestNewScalarIndexing::test_boolean_indexing",
            "matrixlib/test_defmatrix.py::TestNewScalarIndexing::test_list_indexing",
        ),
    ),
    Group(
        "The same, as tests did before NumPy 2 more often: all of a class in its setup_method()",
        (
            "core/test_half.py::TestHalf",
            "core/test_multiarray.py::TestFlat",
            "core/test_multiarray.py::TestMethods::test_argpartition_empty_array",
            "core/test_multiarray.py::TestMethods::test_argsort",
            "core/test_multiarray.py::TestMethods::test_partition_empty_array",
            "core/test_multiarray.py::TestMethods::test_sort_size_0",
        ),
        "1.",
    ),
    Group(
        "numpy.set_string_function() is about the repr() of numpy.ndarray",
        ("core/test_numeric.py::TestStringFunction::test_set_string_function",),
        "1.",
    ),
    Group(
        "Elements without a byte have no order of axes on the shelf",
        (
            "core/test_numeric.py::TestCreationFuncs::test_empty",
            "core/test_numeric.py::TestCreationFuncs::test_ones",
            "core/test_numeric.py::TestCreationFuncs::test_zeros",
        ),
        "2.",
    ),
    Group(
        "What makes the arrays is a function of ours here, which has no signature of its own",
        (
            "core/test_multiarray.py::TestTextSignatures::test_add_newdoc_function_signature",
            "core/test_multiarray.py::TestTextSignatures::test_c_func_dispatcher_text_signature",
        ),
    ),
)
