"""What is called otherwise here than in PyTorch, JAX, Keras or NumPy: the hints of ``AttributeError``.

Modules take ``names_of(...)`` as their ``__getattr__``; ``Variable``, ``Link`` and ``Optimizer`` take ``teach``, which puts an ``Absent`` in the
place of each name. To ``hasattr``, ``getattr`` with a default, ``dir`` and traced functions these are not there. (A ``__getattr__`` of a class would
make each of its attributes slower.)
"""

__all__ = ["Absent", "NOTHING", "OTHER_NAMES", "class_lookup", "missing", "names_of", "teach"]


def _all(names, hint):
    """One hint for several names, in which ``{}`` stands for the name."""
    return {name: hint.format(name) for name in names.split()}


_MODE = "hnn.using_config('train', False) around a block is for evaluation; training is the default"
_DEVICE = "to_device('@cupy:0'), to_device('@numpy')"
_SAVE = "hnn.serializers.save_npz(path, model) and load_npz(path, model)"
_SCHEDULE = "hnn.optimizers.schedules, or extensions such as ExponentialShift for a Trainer"
_LOADER = "hnn.iterators.SerialIterator(dataset, batch_size) and hnn.dataset.concat_examples(batch)"
_ARRAYS = "arrays are NumPy's: numpy.{0}; hnn.Variable(array) makes a Variable of one"
_SCORES = "F.softmax_cross_entropy(x, t), of scores before any softmax"
_TRACE = "hnn.trace(step), or @hnn.trace above def step"

OTHER_NAMES = {
    "hybridnn": {
        **_all("Module Model", "hnn.Chain, with the computation in forward"),
        **_all("ModuleList", "hnn.ChainList(*links)"),
        **_all("nn layers", "hybridnn.links for layers, hybridnn.functions for functions, hnn.Chain for networks"),
        **_all("optim optimizer_v2", "hnn.optimizers"),
        **_all("Tensor tensor from_numpy", "hnn.Variable(array) of a NumPy array; functions take arrays as well"),
        **_all("array asarray zeros ones zeros_like ones_like empty full arange linspace eye", _ARRAYS),
        **_all("rand randn", "numpy.random.{0}"),
        **_all("no_grad inference_mode", "with hnn.no_backprop_mode():"),
        **_all("enable_grad", "with hnn.force_backprop_mode():"),
        **_all("compile", _TRACE),
        **_all("value_and_grad vjp jacobian", "y.backward() fills x.grad; hnn.grad([y], [x]) returns gradients"),
        **_all("GradientTape", "every call is recorded: y.backward() fills x.grad, hnn.grad([y], [x]) returns gradients"),
        **_all("stop_gradient", "hnn.Variable(x.array, requires_grad=False), or F.forget to recompute"),
        **_all("vmap", "functions take a leading axis of samples"),
        **_all("save load", _SAVE),
        **_all("manual_seed random seed", "numpy.random.seed(n) seeds all that is drawn"),
        **_all("device", "hnn.get_device('@numpy'), hnn.get_device('@cupy:0')"),
        **_all("float16 float32 float64 int32 int64", "dtypes are NumPy's: numpy.{0}"),
        **_all("matmul cat stack exp log relu sigmoid softmax tanh sum mean einsum where", "hybridnn.functions has functions of arrays and Variables"),
        **_all("losses metrics", "hybridnn.functions, such as softmax_cross_entropy and accuracy"),
    },
    "hybridnn.functions": {
        **_all("cross_entropy nll_loss sparse_categorical_crossentropy categorical_crossentropy", _SCORES),
        **_all("binary_cross_entropy_with_logits binary_crossentropy", "F.sigmoid_cross_entropy(x, t), of scores before the sigmoid"),
        **_all("binary_cross_entropy", "F.sigmoid_cross_entropy(x, t) takes scores before the sigmoid, F.bernoulli_nll(t, x) too"),
        **_all("mse_loss mse", "F.mean_squared_error(y, t)"),
        **_all("l1_loss mae", "F.mean_absolute_error(y, t)"),
        **_all("smooth_l1_loss", "F.huber_loss(y, t, delta)"),
        **_all("hinge_embedding_loss hinge_loss", "F.hinge(x, t)"),
        **_all("triplet_margin_loss", "F.triplet(anchor, positive, negative)"),
        **_all("ctc_loss", "F.connectionist_temporal_classification(x, t, blank_symbol)"),
        **_all("kl_div", "F.gaussian_kl_divergence(mean, ln_var), or hnn.kl_divergence of two distributions"),
        "conv1d": "F.convolution_1d(x, W, b)", "conv2d": "F.convolution_2d(x, W, b)", "conv3d": "F.convolution_3d(x, W, b)",
        "conv_transpose1d": "F.deconvolution_1d(x, W, b)", "conv_transpose2d": "F.deconvolution_2d(x, W, b)",
        "max_pool1d": "F.max_pooling_1d(x, ksize)", "max_pool2d": "F.max_pooling_2d(x, ksize)", "max_pool3d": "F.max_pooling_3d(x, ksize)",
        "avg_pool1d": "F.average_pooling_1d(x, ksize)", "avg_pool2d": "F.average_pooling_2d(x, ksize)", "avg_pool3d": "F.average_pooling_3d(x, ksize)",
        **_all("adaptive_avg_pool2d global_average_pooling_2d", "F.mean(x, axis=(2, 3))"),
        **_all("adaptive_max_pool2d", "F.max(x, axis=(2, 3))"),
        **_all("interpolate upsample", "F.resize_images(x, (height, width))"),
        **_all("grid_sample", "F.spatial_transformer_sampler(x, grid)"),
        **_all("unfold", "F.im2col(x, ksize)"),
        **_all("embedding", "F.embed_id(x, W)"),
        **_all("batch_norm", "F.batch_normalization(x, gamma, beta)"),
        **_all("layer_norm", "F.layer_normalization(x, gamma, beta)"),
        **_all("group_norm", "F.group_normalization(x, groups, gamma, beta)"),
        **_all("instance_norm", "F.instance_normalization(x, gamma, beta)"),
        **_all("rms_norm", "F.rms_normalization(x, gamma)"),
        **_all("cat concatenate", "F.concat([x, y], axis=1)"),
        **_all("split chunk", "F.split_axis(x, sections, axis)"),
        **_all("unbind unstack", "F.separate(x, axis)"),
        **_all("permute", "F.transpose(x, axes)"),
        **_all("view", "F.reshape(x, shape)"),
        **_all("unsqueeze", "F.expand_dims(x, axis)"),
        **_all("expand", "F.broadcast_to(x, shape)"),
        **_all("dot mm bmm inner", "F.matmul(x, y), or x @ y"),
        **_all("clamp", "F.clip(x, x_min, x_max)"),
        **_all("abs", "F.absolute(x), or abs(x)"),
        **_all("pow power", "x ** y"),
        **_all("mul multiply", "x * y"), **_all("sub subtract", "x - y"), **_all("div divide", "x / y"), **_all("neg negative", "-x"),
        **_all("std", "F.sqrt of F.mean((x - m) ** 2), with m = F.mean(x, axis, keepdims=True)"),
        **_all("var variance", "F.mean((x - m) ** 2, axis), with m = F.mean(x, axis, keepdims=True)"),
        **_all("topk", "F.top_k(x, k)"),
        **_all("gather take_along_axis", "x[index], or F.select_item(x, t) for one number of each row"),
        **_all("scatter index_add", "F.scatter_add(x, index, y)"),
        **_all("masked_fill", "F.where(mask, value, x)"),
        **_all("one_hot", "numpy.eye(classes, dtype='float32')[t]"),
        **_all("zeros ones zeros_like ones_like arange eye", "arrays are NumPy's: numpy.{0}"),
        **_all("cosine_similarity", "F.sum(F.normalize(x) * F.normalize(y), axis=1)"),
        **_all("pdist cdist", "F.sum(F.square(x[:, None] - y), axis=2)"),
        **_all("pixel_unshuffle", "F.space2depth(x, r)"),
        **_all("astype", "F.cast(x, dtype)"),
        **_all("stop_gradient detach", "hnn.Variable(x.array, requires_grad=False)"),
        **_all("logsigmoid log_sigmoid", "-F.softplus(-x)"),
        **_all("hardsigmoid", "F.hard_sigmoid(x)"),
        **_all("hardtanh", "F.clip(x, -1.0, 1.0)"),
        **_all("dense", "F.linear(x, W, b)"),
        **_all("gru", "F.n_step_gru, or L.NStepGRU"),
    },
    "hybridnn.links": {
        **_all("Module Model", "hnn.Chain, with the computation in forward"),
        **_all("Sequential", "hnn.Sequential(*layers)"),
        **_all("ModuleList", "hnn.ChainList(*links)"),
        **_all("Dense", "L.Linear(in_size, out_size), or L.Linear(out_size)"),
        **_all("Conv1d Conv1D", "L.Convolution1D(in_channels, out_channels, ksize)"),
        **_all("Conv2d Conv2D Conv", "L.Convolution2D(in_channels, out_channels, ksize)"),
        **_all("Conv3d Conv3D", "L.Convolution3D(in_channels, out_channels, ksize)"),
        **_all("ConvTranspose1d Conv1DTranspose", "L.Deconvolution1D(in_channels, out_channels, ksize)"),
        **_all("ConvTranspose2d Conv2DTranspose ConvTranspose", "L.Deconvolution2D(in_channels, out_channels, ksize)"),
        **_all("ConvTranspose3d Conv3DTranspose", "L.Deconvolution3D(in_channels, out_channels, ksize)"),
        **_all("DepthwiseConv2D", "L.DepthwiseConvolution2D(in_channels, channel_multiplier, ksize)"),
        **_all("BatchNorm BatchNorm1d BatchNorm2d BatchNorm3d", "L.BatchNormalization(size)"),
        **_all("LayerNorm", "L.LayerNormalization(size)"),
        **_all("GroupNorm", "L.GroupNormalization(groups)"),
        **_all("RMSNorm", "L.RMSNormalization(size)"),
        **_all("InstanceNorm1d InstanceNorm2d InstanceNorm", "F.instance_normalization(x, gamma, beta)"),
        **_all("Embedding Embed", "L.EmbedID(in_size, out_size)"),
        **_all("RNN SimpleRNN", "L.NStepRNNTanh(n_layers, in_size, out_size, dropout), L.NStepRNNReLU"),
        **_all("LSTMCell", "L.StatelessLSTM(in_size, out_size); L.LSTM keeps its state"),
        **_all("GRUCell", "L.StatelessGRU(in_size, out_size); L.StatefulGRU keeps its state"),
        **_all("MultiheadAttention", "L.MultiHeadAttention"),
        "ReLU": "F.relu", "ReLU6": "F.relu6", "LeakyReLU": "F.leaky_relu", "ELU": "F.elu", "SELU": "F.selu", "GELU": "F.gelu", "SiLU": "F.silu",
        "Sigmoid": "F.sigmoid", "Tanh": "F.tanh", "Softmax": "F.softmax", "LogSoftmax": "F.log_softmax", "Softplus": "F.softplus", "Mish": "F.mish",
        "Hardswish": "F.hardswish", "Activation": "functions such as F.relu",
        **_all("Dropout Dropout2d", "F.dropout(x, ratio)"),
        **_all("MaxPool1d MaxPooling1D", "F.max_pooling_1d(x, ksize)"),
        **_all("MaxPool2d MaxPooling2D", "F.max_pooling_2d(x, ksize)"),
        **_all("AvgPool2d AveragePooling2D", "F.average_pooling_2d(x, ksize)"),
        **_all("AdaptiveAvgPool2d GlobalAveragePooling2D", "F.mean(x, axis=(2, 3))"),
        **_all("Flatten", "F.flatten_batch(x)"),
        **_all("Reshape", "F.reshape(x, shape)"),
        **_all("Identity", "F.identity"),
        **_all("Upsample UpSampling2D", "F.resize_images(x, (height, width))"),
        **_all("PixelShuffle", "F.pixel_shuffle(x, r)"),
        **_all("CrossEntropyLoss NLLLoss", _SCORES),
        **_all("BCEWithLogitsLoss BCELoss", "F.sigmoid_cross_entropy(x, t), of scores before the sigmoid"),
        **_all("MSELoss", "F.mean_squared_error(y, t)"),
        **_all("L1Loss", "F.mean_absolute_error(y, t)"),
        **_all("SmoothL1Loss HuberLoss", "F.huber_loss(y, t, delta)"),
        **_all("CTCLoss", "F.connectionist_temporal_classification(x, t, blank_symbol)"),
    },
    "hybridnn.optimizers": {
        **_all("Momentum SGDM", "hnn.optimizers.MomentumSGD(lr, momentum)"),
        **_all("Nesterov", "hnn.optimizers.NesterovAG(lr, momentum)"),
        **_all("Sgd", "hnn.optimizers.SGD"), **_all("adamw", "hnn.optimizers.AdamW"), **_all("RMSProp Rmsprop", "hnn.optimizers.RMSprop"),
        **_all("Adagrad adagrad", "hnn.optimizers.AdaGrad"), **_all("Adadelta adadelta", "hnn.optimizers.AdaDelta"),
        **_all("Amsgrad AMSgrad", "hnn.optimizers.AMSGrad"),
        **_all("lr_scheduler", _SCHEDULE),
        **_all("clip_grad_norm_ clip_by_global_norm", "optimizer.add_hook(hnn.optimizer_hooks.GradientClipping(threshold))"),
        **_all("WeightDecay GradientClipping", "hnn.optimizer_hooks.{0}"),
    },
    "hybridnn.initializers": {
        **_all("Xavier XavierUniform xavier_uniform_ glorot_uniform", "hnn.initializers.GlorotUniform()"),
        **_all("XavierNormal xavier_normal_ glorot_normal", "hnn.initializers.GlorotNormal()"),
        **_all("Kaiming He KaimingNormal kaiming_normal_ he_normal", "hnn.initializers.HeNormal()"),
        **_all("KaimingUniform kaiming_uniform_ he_uniform", "hnn.initializers.HeUniform()"),
        **_all("RandomNormal normal_ Gaussian", "hnn.initializers.Normal(scale)"),
        **_all("RandomUniform uniform_", "hnn.initializers.Uniform(scale)"),
        **_all("Zeros zeros_ zeros", "hnn.initializers.Zero()"), **_all("Ones ones_ ones", "hnn.initializers.One()"),
        **_all("constant_", "hnn.initializers.Constant(value)"), **_all("orthogonal_", "hnn.initializers.Orthogonal()"),
    },
    "hybridnn.iterators": _all("DataLoader", _LOADER),
    "hybridnn.datasets": {
        **_all("DataLoader", _LOADER),
        **_all("TensorDataset", "hnn.datasets.TupleDataset(x, t)"),
        **_all("Subset", "hnn.datasets.SubDataset"), **_all("ConcatDataset", "hnn.datasets.ConcatenatedDataset"),
        **_all("random_split", "hnn.datasets.split_dataset_random(dataset, first_size)"),
        **_all("MNIST", "hnn.datasets.get_mnist()"), **_all("CIFAR10 cifar10", "hnn.datasets.get_cifar10()"),
        **_all("load_digits digits", "hnn.datasets.get_digits()"),
    },
    "Variable": {
        **_all("detach", "hnn.Variable(x.array, requires_grad=False); x.unchain() cuts the graph in place"),
        **_all("numpy tolist", "x.array is the NumPy array"),
        **_all("cuda cpu to", _DEVICE),
        **_all("clone", "F.copy(x, -1)"),
        **_all("view", "x.reshape(shape)"), **_all("permute", "x.transpose(axes)"), **_all("dim", "x.ndim"),
        **_all("unsqueeze", "F.expand_dims(x, axis)"), **_all("expand", "F.broadcast_to(x, shape)"),
        **_all("astype float double half long", "F.cast(x, dtype)"),
        **_all("requires_grad_", "hnn.Variable(array, requires_grad=...)"),
        **_all("retain_grad", "y.backward(retain_grad=True)"),
        **_all("zero_grad", "x.cleargrad()"),
        **_all("is_leaf grad_fn", "x.creator is None for what no function has made"),
        **_all("register_hook", "hnn.FunctionHook looks at gradients on their way"),
        **_all("add_ sub_ mul_ div_ copy_ zero_ fill_", "x.array is an array, which NumPy changes in place outside of the graph"),
        **_all("sum max min exp log sqrt relu sigmoid tanh softmax log_softmax matmul argmax argmin flatten squeeze tile prod cumsum", "F.{0}(x)"),
        **_all("at", "F.where(mask, new, x) or F.scatter_add(x, index, y)"),
        **_all("dot mm", "x @ y"), **_all("abs", "abs(x)"), **_all("pow", "x ** y"), **_all("clamp clip", "F.clip(x, x_min, x_max)"),
    },
    "Link": {
        **_all("parameters trainable_variables trainable_weights", "model.params()"), **_all("named_parameters", "model.namedparams()"),
        **_all("modules", "model.links()"), **_all("named_modules", "model.namedlinks()"),
        **_all("zero_grad", "model.cleargrads()"),
        **_all("state_dict load_state_dict save_weights load_weights", _SAVE),
        **_all("train eval", _MODE),
        **_all("cuda cpu to", _DEVICE),
        **_all("register_buffer", "model.add_persistent(name, value)"),
        **_all("register_parameter", "model.add_param(name, shape), or an assignment of hnn.Parameter in init_scope"),
        **_all("add_module", "model.add_link(name, link), or an assignment in init_scope"),
        **_all("requires_grad_", "model.disable_update(), model.enable_update()"),
        **_all("fit", "hnn.training.Trainer, or a loop of loss.backward() and optimizer.update()"),
        **_all("predict", "model(x) calls forward; a Classifier's network is classifier.predictor(x)"),
        **_all("explain", "hnn.trace(model) has explain and stats, model has not"),
        **_all("compile", _TRACE),
    },
    "Optimizer": {
        **_all("step minimize apply_gradients", "optimizer.update()"),
        **_all("zero_grad", "model.cleargrads()"),
        **_all("param_groups", "optimizer.hyperparam for all parameters, param.update_rule.hyperparam for one"),
        **_all("state_dict load_state_dict", "hnn.serializers.save_npz(path, optimizer) and load_npz(path, optimizer)"),
    },
}


def missing(text, name, hints):
    """The ``AttributeError`` for a name that is not there; Python adds what it may have been meant for, where there is no hint."""
    if name not in hints:
        return AttributeError(text)
    return AttributeError(f"{text}\n  hint: {hints[name]}", name=name, obj=None)


def names_of(module):
    """A module's ``__getattr__``."""
    hints = OTHER_NAMES[module]

    def __getattr__(name):
        raise missing(f"module {module!r} has no attribute {name!r}", name, hints)
    return __getattr__


class Absent:
    """Stands in a class for an attribute that objects do not have, and says what to use. What a base class behind has by that name is found."""
    __slots__ = ("hint", "name")

    def __init__(self, name, hint):
        self.name, self.hint = name, hint

    def __get__(self, obj, cls=None):
        cls = type(obj) if cls is None else cls
        found = class_lookup(cls, self.name, NOTHING)
        if found is not NOTHING:
            return found.__get__(obj, cls) if hasattr(type(found), "__get__") else found
        text = f"type object {cls.__name__!r}" if obj is None else f"{cls.__name__!r} object"
        raise missing(f"{text} has no attribute {self.name!r}", self.name, {self.name: self.hint})


def class_lookup(cls, name, missing=None):
    """The attribute as it stands in the class or a base, without binding; ``missing`` if there is none."""
    for base in cls.__mro__:
        found = base.__dict__.get(name, NOTHING)
        if type(found) is not Absent:
            return found
    return missing


def teach(cls):
    """Put the hints for its users into a class; a decorator."""
    hints = OTHER_NAMES[cls.__name__]

    def __init_subclass__(sub, **kwargs):
        super(cls, sub).__init_subclass__(**kwargs)
        for name in hints:          # a property of a class mixed in behind is to be set, too
            found = class_lookup(sub, name)
            if hasattr(type(found), "__set__"):
                setattr(sub, name, found)

    for name, hint in hints.items():
        setattr(cls, name, Absent(name, hint))
    cls.__init_subclass__, cls.__dir__ = classmethod(__init_subclass__), _names_there
    return cls


def _names_there(self):
    """``dir`` of an object, without what is absent."""
    cls = type(self)
    return [name for name in object.__dir__(self) if name in self.__dict__ or class_lookup(cls, name, NOTHING) is not NOTHING]


NOTHING = Absent("", "")
