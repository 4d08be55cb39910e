"""Probability distributions: densities, moments, draws and divergences, differentiable in the parameters."""
from hybridnn.distributions import utils
from hybridnn.distributions.bernoulli import Bernoulli
from hybridnn.distributions.beta import Beta
from hybridnn.distributions.categorical import Categorical
from hybridnn.distributions.cauchy import Cauchy
from hybridnn.distributions.chisquare import Chisquare
from hybridnn.distributions.dirichlet import Dirichlet
from hybridnn.distributions.exponential import Exponential
from hybridnn.distributions.gamma import Gamma
from hybridnn.distributions.geometric import Geometric
from hybridnn.distributions.gumbel import Gumbel
from hybridnn.distributions.independent import Independent
from hybridnn.distributions.laplace import Laplace
from hybridnn.distributions.log_normal import LogNormal
from hybridnn.distributions.multivariate_normal import MultivariateNormal
from hybridnn.distributions.normal import Normal
from hybridnn.distributions.one_hot_categorical import OneHotCategorical
from hybridnn.distributions.pareto import Pareto
from hybridnn.distributions.poisson import Poisson
from hybridnn.distributions.uniform import Uniform

__all__ = ["Bernoulli", "Beta", "Categorical", "Cauchy", "Chisquare", "Dirichlet", "Exponential", "Gamma", "Geometric",
           "Gumbel", "Independent", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "OneHotCategorical", "Pareto",
           "Poisson", "Uniform"]
